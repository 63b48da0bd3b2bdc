// What one rank computes of a model's layers after tensor parallelism has cut them: the sizes from which
// memory and time of a step are estimated.
#pragma once

#include <cstdint>

#include "models/model.h"
#include "nn/unit.h"

namespace tessera {

/// One decoder layer, or the head, on one rank.
struct LayerShape {
  int64_t hidden = 0;    ///< inside a block
  int64_t resident = 0;  ///< of the residual stream, for each token of the micro-batch (a part of it under
                         ///< sequence parallelism)
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate = 0;
  int64_t vocab = 0;
  int64_t window = 0;  ///< sliding window; 0: full attention
  bool qk_norm = false;
  bool sandwich_norms = false;

  int64_t q_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
};

/// Of decoder layer `layer`; uneven cuts count as the largest part.
LayerShape layer_shape(const ModelConfig& config, int64_t layer, int64_t tp, bool sequence_parallel);

/// Bytes per token that a decoder layer's forward keeps for its backward. `element` is the size of an
/// activation.
int64_t layer_saved_bytes(const LayerShape& shape, Recompute recompute, int64_t element);
/// Bytes per token that a layer's backward holds beside what was saved.
int64_t layer_working_bytes(const LayerShape& shape, Recompute recompute, int64_t element);
/// Bytes per token that a backward cut in two keeps for its second half: inputs and output gradients of the
/// matrices.
int64_t layer_recorded_bytes(const LayerShape& shape, int64_t element);
/// Bytes that the head needs for itself: a chunk of logits and three activations.
int64_t head_working_bytes(const LayerShape& shape, int64_t loss_chunk, int64_t tokens, int64_t element);
/// Rows of logits that exist at a time.
int64_t head_chunk_rows(const LayerShape& shape, int64_t loss_chunk, int64_t tokens, int64_t element);

}  // namespace tessera
