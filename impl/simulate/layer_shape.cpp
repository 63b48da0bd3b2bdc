// Sizes of layers and of what their forwards and backwards keep.
#include "simulate/layer_shape.h"

#include <algorithm>

namespace tessera {

LayerShape layer_shape(const ModelConfig& c, int64_t layer, int64_t tp, bool sequence_parallel) {
  const auto part = [&](int64_t total) { return (total + tp - 1) / tp; };
  LayerShape shape;
  shape.hidden = c.hidden_size;
  shape.resident = sequence_parallel ? part(c.hidden_size) : c.hidden_size;
  shape.heads = part(c.num_heads);
  shape.kv_heads = part(c.num_kv_heads);
  shape.head_dim = c.head_dim;
  shape.intermediate = part(c.intermediate_size);
  shape.vocab = part(c.vocab_size);
  const auto index = static_cast<size_t>(layer);
  if (index < c.sliding_window.size()) shape.window = c.sliding_window[index];
  shape.qk_norm = c.qk_norm;
  shape.sandwich_norms = c.sandwich_norms;
  return shape;
}

// nn/decoder_layer.cpp is the list.
int64_t layer_saved_bytes(const LayerShape& s, Recompute recompute, int64_t element) {
  const int64_t q = s.q_width();
  const int64_t kv = s.kv_width();
  if (recompute == Recompute::full) return s.resident * element;
  // Input, middle of the residual stream, q, k, v, attention's output and log-sum-exp, gate and up.
  int64_t bytes = (2 * s.resident + 2 * q + 2 * kv + 2 * s.intermediate) * element + 4 * s.heads;
  // What the norms behind attention and MLP were given, and their scales.
  if (s.sandwich_norms) bytes += 2 * s.resident * element + 8;
  if (recompute == Recompute::selective) return bytes;
  // Both norms' outputs and scales, and the product that enters the down projection.
  bytes += (2 * s.resident + s.intermediate) * element + 8;
  if (s.qk_norm) bytes += (q + kv) * element + 4 * (s.heads + s.kv_heads);
  return bytes;
}

// Gradients of gate, up and their product, of q, k, v, and of the residual stream.
int64_t layer_working_bytes(const LayerShape& s, Recompute recompute, int64_t element) {
  const int64_t gradients =
      (3 * s.intermediate + 3 * s.hidden + 2 * s.q_width() + 2 * s.kv_width()) * element;
  const int64_t again =
      layer_saved_bytes(s, Recompute::none, element) - layer_saved_bytes(s, recompute, element);
  return gradients + (recompute == Recompute::selective ? again : 0);
}

int64_t layer_recorded_bytes(const LayerShape& s, int64_t element) {
  // Inputs: of q, k, v and of gate, up (whole rows), of o and of down. Gradients: q, k, v, gate, up, and the
  // outputs of o and down.
  const int64_t inputs = 2 * s.hidden + s.q_width() + s.intermediate;
  const int64_t gradients = s.q_width() + 2 * s.kv_width() + 2 * s.intermediate + 2 * s.hidden;
  return (inputs + gradients) * element;
}

int64_t head_chunk_rows(const LayerShape& s, int64_t loss_chunk, int64_t tokens, int64_t element) {
  constexpr int64_t kLogitsBytes = int64_t{64} << 20;  // as nn/head.cpp chooses
  constexpr int64_t kFewestRows = 128;
  int64_t rows = loss_chunk;
  if (rows == 0) rows = std::max(kFewestRows, kLogitsBytes / (s.vocab * element));
  return std::min(rows, tokens);
}

int64_t head_working_bytes(const LayerShape& s, int64_t loss_chunk, int64_t tokens, int64_t element) {
  return head_chunk_rows(s, loss_chunk, tokens, element) * s.vocab * element +
         3 * tokens * s.hidden * element;
}

}  // namespace tessera
