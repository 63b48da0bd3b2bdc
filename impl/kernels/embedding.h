// Token embedding: gathering rows of a table, and adding gradients back into them in a fixed order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::kernels {

/// Rows of weight [V, H] for tokens [T] (int64): [T, H]. With a vocabulary split over ranks, weight holds
/// entries vocab_begin .. vocab_begin + V of `vocab_size`, and tokens of other ranks give zero rows;
/// vocab_size -1 means that weight is the whole table. Errors: a token outside [0, vocab_size) (argument).
at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens, int64_t vocab_begin = 0,
                     int64_t vocab_size = -1);

/// Adds dy [T, H] to the rows of grad [V, H] that `tokens` name; rows of one token are first summed in
/// float32 in token order, so the result does not depend on threads and loses nothing to a bfloat16 target.
/// Tokens outside the slice are skipped.
void embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, const at::Tensor& dy,
                        int64_t vocab_begin = 0);

}  // namespace tessera::kernels
