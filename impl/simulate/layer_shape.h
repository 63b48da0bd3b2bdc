// What one rank computes of a model's layers after tensor parallelism has cut them: the sizes from which
// memory and time of a step are estimated.
#pragma once

#include <cstdint>

#include "kernels/float8.h"
#include "models/model.h"
#include "nn/unit.h"

namespace tessera {

/// How the ranks of a mesh cut layers.
struct LayerCut {
  int64_t tp = 1;
  bool sequence_parallel = false;
  int64_t ep = 1;
  bool expert_tp = false;  ///< experts' widths are cut over tp (parallel.expert_tp)
};

/// Latent attention (nn/latent_attention.h), of each token.
struct LatentShape {
  int64_t q_rank = 0;
  int64_t kv_rank = 0;  ///< 0: usual attention
  int64_t plain_dim = 0;
  int64_t rope_dim = 0;
  int64_t value_dim = 0;

  int64_t down_width() const { return q_rank + kv_rank + rope_dim; }
};

/// A layer's experts on one rank, when tokens choose all of them equally often.
struct ExpertShape {
  int64_t count = 0;  ///< of the model; 0: the layer has an MLP
  int64_t held = 0;   ///< of this rank
  int64_t top_k = 0;
  int64_t intermediate = 0;  ///< of this rank's part of one
  int64_t ranks = 1;         ///< ep
  int64_t token_parts = 1;   ///< ranks of tp that take a part of the tokens each
  bool cut_width = false;

  /// Rows that reach this rank's experts, and tokens that it routes, of `tokens` tokens of its micro-batch.
  double rows(double tokens) const { return routed(tokens) * static_cast<double>(top_k); }
  double routed(double tokens) const { return tokens / static_cast<double>(token_parts); }
};

/// One decoder layer, or the head, on one rank.
struct LayerShape {
  int64_t hidden = 0;    ///< inside a block
  int64_t resident = 0;  ///< of the residual stream, for each token of the micro-batch (a part of it under
                         ///< sequence parallelism)
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate = 0;  ///< of the MLP, or of the experts that all tokens pass
  int64_t vocab = 0;
  int64_t window = 0;  ///< sliding window; 0: full attention
  bool qk_norm = false;
  bool sandwich_norms = false;
  LatentShape latent;
  ExpertShape experts;

  int64_t q_width() const { return heads * head_dim; }
  int64_t k_width() const { return kv_heads * head_dim; }
  int64_t v_width() const { return kv_heads * value_dim(); }
  int64_t out_width() const { return heads * value_dim(); }

 private:
  int64_t value_dim() const { return latent.kv_rank > 0 ? latent.value_dim : head_dim; }
};

/// Of decoder layer `layer`; uneven cuts count as the largest part.
LayerShape layer_shape(const ModelConfig& config, int64_t layer, const LayerCut& cut);

/// Bytes per token that a decoder layer's forward keeps for its backward. `element` is the size of an
/// activation.
int64_t layer_saved_bytes(const LayerShape& shape, Recompute recompute, int64_t element);
/// Bytes per token that a layer's backward holds beside what was saved.
int64_t layer_working_bytes(const LayerShape& shape, Recompute recompute, int64_t element);
/// Bytes that a layer's backward holds beside that where its matrices are multiplied in float8: casts of
/// gradients and inputs, and a weight gradient that is formed apart.
int64_t float8_working_bytes(const LayerShape& shape, kernels::Float8Recipe recipe, int64_t tokens,
                             int64_t element);
/// Bytes per token that a backward cut in two keeps for its second half: inputs and output gradients of the
/// matrices.
int64_t layer_recorded_bytes(const LayerShape& shape, int64_t element);
/// What decides how many rows of logits exist at a time (loss_chunk_rows of nn/head.h).
struct HeadChunk {
  int64_t rows = 0;        ///< train.loss_chunk; 0: chosen from the vocabulary
  bool on_device = false;  ///< on a GPU, where chunks are larger
};
/// Bytes that the head needs for itself: a chunk of logits and three activations.
int64_t head_working_bytes(const LayerShape& shape, const HeadChunk& chunk, int64_t tokens, int64_t element);
/// Rows of logits that exist at a time.
int64_t head_chunk_rows(const LayerShape& shape, const HeadChunk& chunk, int64_t tokens, int64_t element);

}  // namespace tessera
