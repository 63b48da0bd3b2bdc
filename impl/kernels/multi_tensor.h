// Passes over many tensors at once, which a GPU runs as few launches: copies in and out of flat buffers, the
// sum of squares behind the gradient norm, and the optimizers' updates.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/cpu/table.h"

namespace tessera::kernels {

/// dsts[i] = srcs[i] (or += in float32) with a cast, as cast_copy and add_to. All dsts have one dtype, and so
/// have all srcs; tensors are contiguous, pairs of equal length.
void copy_all(const std::vector<at::Tensor>& dsts, const std::vector<at::Tensor>& srcs);
void add_all(const std::vector<at::Tensor>& dsts, const std::vector<at::Tensor>& srcs);

struct WeightedTensor {
  at::Tensor tensor;  ///< contiguous
  double factor;
};

/// Sum over tensors of factor times the sum of squares, float64 [1] on their device, in an order that depends
/// on the lengths alone. All on one device. Nothing waits for the device.
at::Tensor sum_of_squares(const std::vector<WeightedTensor>& tensors);

/// What gradients are multiplied by to have at most norm max_norm (see optim's clip_coefficient): float32 [1]
/// on the device of squares float64 [1].
at::Tensor clip_scale(const at::Tensor& squares, double max_norm);

/// One tensor of an optimizer's pass; 1-D, contiguous, of equal length. `copy` (bfloat16) and `momentum` may
/// be undefined.
struct AdamWTensors {
  at::Tensor master, grad, m, v, copy;
  float decay;  ///< 1 - lr * weight_decay, or 1
};
struct SgdTensors {
  at::Tensor master, grad, momentum, copy;
  float weight_decay;
};

/// The updates of all tensors (AdamWScalars::decay and SgdScalars::weight_decay are those of each tensor).
/// `device_scale`, float32 [1] or undefined, multiplies gradients too: clipping that the host need not know.
void adamw_all(const std::vector<AdamWTensors>& tensors, const AdamWScalars& scalars,
               const at::Tensor& device_scale = {});
void sgd_all(const std::vector<SgdTensors>& tensors, const SgdScalars& scalars,
             const at::Tensor& device_scale = {});
/// Whether adamw_all and sgd_all take a tensor: its dtypes and device have a fused loop.
bool has_fused_update(const at::Tensor& master, const at::Tensor& grad, const at::Tensor& copy);

}  // namespace tessera::kernels
