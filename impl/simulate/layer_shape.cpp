// Sizes of layers and of what their forwards and backwards keep.
#include "simulate/layer_shape.h"

#include <algorithm>

#include "nn/head.h"

namespace tessera {
namespace {

int64_t part_of(int64_t total, int64_t parts) {
  return (total + parts - 1) / parts;
}

ExpertShape expert_shape(const MoeConfig& moe, const LayerCut& cut) {
  ExpertShape experts;
  experts.count = moe.experts;
  experts.held = part_of(moe.experts, cut.ep);
  experts.top_k = moe.routing.top_k;
  experts.cut_width = cut.tp > 1 && cut.expert_tp;
  experts.intermediate = part_of(moe.intermediate_size, experts.cut_width ? cut.tp : 1);
  experts.ranks = cut.ep;
  experts.token_parts = experts.cut_width ? 1 : cut.tp;
  return experts;
}

// nn/attention.cpp and nn/latent_attention.cpp are the lists.
int64_t attention_saved_bytes(const LayerShape& s, bool everything, int64_t element) {
  const LatentShape& latent = s.latent;
  // Attention's output and log-sum-exp.
  int64_t bytes = s.out_width() * element + 4 * s.heads;
  if (latent.kv_rank == 0) {
    bytes += (s.q_width() + s.k_width() + s.v_width()) * element;
    if (everything && s.qk_norm) {
      bytes += (s.q_width() + s.k_width()) * element + 4 * (s.heads + s.kv_heads);
    }
    return bytes;
  }
  // Latents, queries, what the keys' and values' latent became, and the rotated part of the keys.
  const int64_t up = s.heads * (latent.plain_dim + latent.value_dim);
  bytes += (latent.down_width() + s.q_width() + up + latent.rope_dim) * element;
  if (everything) bytes += (latent.q_rank + latent.kv_rank + s.k_width()) * element + 8;
  return bytes;
}

// nn/mlp.cpp and nn/moe.cpp: gate and up, with the product that enters the down projection, of all tokens and
// of rows; rows that came from other ranks; scores, choices and weights.
int64_t feed_forward_saved_bytes(const LayerShape& s, Recompute recompute, int64_t element) {
  const int64_t kept = recompute == Recompute::none ? 3 : 2;
  const int64_t dense = recompute == Recompute::mlp ? 0 : kept * s.intermediate * element;
  const ExpertShape& e = s.experts;
  if (e.count == 0) return dense;
  const int64_t row = (kept * e.intermediate + (e.ranks > 1 ? s.hidden : 0)) * element;
  return dense + part_of(e.top_k * row + 4 * e.count + 12 * e.top_k, e.token_parts);
}

}  // namespace

LayerShape layer_shape(const ModelConfig& c, int64_t layer, const LayerCut& cut) {
  LayerShape shape;
  shape.hidden = c.hidden_size;
  shape.resident = cut.sequence_parallel ? part_of(c.hidden_size, cut.tp) : c.hidden_size;
  shape.heads = part_of(c.num_heads, cut.tp);
  shape.kv_heads = part_of(c.num_kv_heads, cut.tp);
  shape.head_dim = c.head_dim;
  shape.intermediate = part_of(c.intermediate_size, cut.tp);
  shape.vocab = part_of(c.vocab_size, cut.tp);
  const auto index = static_cast<size_t>(layer);
  if (index < c.sliding_window.size()) shape.window = c.sliding_window[index];
  shape.qk_norm = c.qk_norm;
  shape.sandwich_norms = c.sandwich_norms;
  if (c.latent.kv_rank > 0) {
    shape.kv_heads = shape.heads;
    shape.latent = {c.latent.q_rank, c.latent.kv_rank, c.latent.plain_dim, c.latent.rope_dim,
                    c.latent.value_dim};
  }
  if (c.moe.in_layer(layer)) {
    shape.experts = expert_shape(c.moe, cut);
    shape.intermediate = part_of(c.moe.shared_intermediate_size, cut.tp);
  }
  return shape;
}

// nn/decoder_layer.cpp is the list.
int64_t layer_saved_bytes(const LayerShape& s, Recompute recompute, int64_t element) {
  if (recompute == Recompute::full) return s.resident * element;
  const bool everything = recompute == Recompute::none;
  // Input and middle of the residual stream.
  int64_t bytes = 2 * s.resident * element + attention_saved_bytes(s, everything, element) +
                  feed_forward_saved_bytes(s, recompute, element);
  // What the norms behind attention and MLP were given, and their scales.
  if (s.sandwich_norms) bytes += 2 * s.resident * element + 8;
  // Both norms' outputs and scales.
  if (everything) bytes += 2 * s.resident * element + 8;
  return bytes;
}

int64_t layer_working_bytes(const LayerShape& s, Recompute recompute, int64_t element) {
  // One block after the other. The gradient of the product of gate and up, whose own take their places; rows
  // on their way to the experts and back.
  int64_t feed_forward = s.intermediate;
  const ExpertShape& e = s.experts;
  if (e.count > 0) feed_forward += part_of(e.top_k * (e.ranks > 1 ? 4 : 3) * s.hidden, e.token_parts);
  // Of q, k, v; of latents.
  int64_t attention = 2 * s.q_width() + s.k_width() + s.v_width();
  if (s.latent.kv_rank > 0) {
    attention += 2 * s.latent.down_width() + s.heads * (s.latent.plain_dim + s.latent.value_dim);
  }
  // And of the residual stream, of which sequence parallelism brings whole rows together beside the own ones.
  const int64_t stream = 3 * s.resident + (s.resident < s.hidden ? 3 * s.hidden : 0);
  const int64_t gradients = std::max(feed_forward, attention) + stream;
  if (recompute == Recompute::none) return gradients * element;
  // Made again, under full recompute of what was filled as with selective: the product takes its gradient's
  // place.
  const Recompute kept = recompute == Recompute::full ? Recompute::selective : recompute;
  const int64_t again = layer_saved_bytes(s, Recompute::none, element) - layer_saved_bytes(s, kept, element) -
                        s.intermediate * element;
  return gradients * element + again;
}

// nn/mlp.cpp: the gradients of down's output, of gate and of up, in one form or both, and the input of down.
// Attention's are narrower.
int64_t float8_working_bytes(const LayerShape& s, kernels::Float8Recipe recipe, int64_t tokens,
                             int64_t element) {
  const int64_t gradients = 2 * s.intermediate + s.hidden;
  if (recipe == kernels::Float8Recipe::rowwise_with_gw_hp) return tokens * gradients;
  return tokens * (2 * gradients + s.intermediate) + s.hidden * s.intermediate * element;
}

int64_t layer_recorded_bytes(const LayerShape& s, int64_t element) {
  // Inputs: of q, k, v and of gate, up (whole rows), of o and of down. Gradients: q, k, v, gate, up, and the
  // outputs of o and down.
  int64_t inputs = 2 * s.hidden + s.out_width() + s.intermediate;
  int64_t gradients = s.q_width() + s.k_width() + s.v_width() + 2 * s.intermediate + 2 * s.hidden;
  const LatentShape& latent = s.latent;
  if (latent.kv_rank > 0) {
    inputs += latent.q_rank + latent.kv_rank;
    gradients += latent.down_width() + s.heads * latent.plain_dim - s.k_width();
  }
  const ExpertShape& e = s.experts;
  if (e.count > 0) {
    const int64_t rows = e.top_k * (2 * s.hidden + 3 * e.intermediate) + e.count;
    inputs += part_of(rows, e.token_parts);
  }
  return (inputs + gradients) * element;
}

int64_t head_chunk_rows(const LayerShape& s, const HeadChunk& chunk, int64_t tokens, int64_t element) {
  const int64_t rows =
      chunk.rows > 0 ? chunk.rows : loss_chunk_rows(tokens, s.vocab * element, chunk.on_device);
  return std::min(rows, tokens);
}

int64_t head_working_bytes(const LayerShape& s, const HeadChunk& chunk, int64_t tokens, int64_t element) {
  return head_chunk_rows(s, chunk, tokens, element) * s.vocab * element + 3 * tokens * s.hidden * element;
}

}  // namespace tessera
