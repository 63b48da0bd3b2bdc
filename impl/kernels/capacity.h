// The capacity of experts: which assignments of a micro-batch stay when an expert may take so many only, and
// the weights of those that do.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::kernels {

/// ceil(factor * top_k * tokens / experts): what each expert takes of a micro-batch's tokens.
int64_t expert_capacity(double factor, int64_t top_k, int64_t tokens, int64_t experts);

/// `experts` int64 [T, k] with -1 in place of what goes beyond the capacity: of each expert the assignments
/// with the smallest weights, of equal ones the later tokens'. -1 in `experts` is nobody's. `weights` float32
/// [T, k], in the order of the micro-batch, both contiguous on the cpu.
at::Tensor within_capacity(const at::Tensor& experts, const at::Tensor& weights, int64_t count,
                           int64_t capacity);

/// The weights of a token's remaining experts, scaled so that their sum is that of all its weights before; 0
/// where `kept` (int64 [T, k]) is -1. A token that has lost all, or all but weights of 0, gets nothing but 0.
at::Tensor rescale_kept(const at::Tensor& weights, const at::Tensor& kept);

/// The gradient of `weights` for that of the result. What stands in `gradient` where kept is -1 is not read.
at::Tensor rescale_kept_backward(const at::Tensor& gradient, const at::Tensor& weights,
                                 const at::Tensor& kept);

}  // namespace tessera::kernels
