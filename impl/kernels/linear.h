// The three matrix products of a linear layer y = x Wᵀ + b, each through the fastest engine LibTorch has for
// the dtype.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::kernels {

/// The number of rows, at least `rows`, with which the products of a linear layer on x like `like` cost the
/// least. oneDNN makes a kernel for each new shape, which for a few hundred rows costs more than the product:
/// callers whose numbers of rows differ from call to call round up, by an eighth at most beyond 64, and so
/// meet few shapes.
int64_t preferred_rows(const at::Tensor& like, int64_t rows);

/// y [T, out] = x [T, in] Wᵀ (+ bias [out]); weight [out, in].
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/// dx [T, in] = dy [T, out] W.
at::Tensor linear_grad_input(const at::Tensor& dy, const at::Tensor& weight);
/// The same into dx, which has the dtype of dy and is overwritten.
void linear_grad_input_out(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx);

/// dW [out, in] = dyᵀ x into `target`, which is overwritten (whatever it held) or added to. The target has
/// the dtype of x, or is float32: then the product of bfloat16 inputs, summed in float32 by the engine, is
/// rounded to bfloat16 before it is added (on the CPU; cuBLAS adds to the target in float32).
void linear_grad_weight(const at::Tensor& x, const at::Tensor& dy, const at::Tensor& target, bool accumulate);

/// db [out] float32: the column sums of dy [T, out], rows added in a fixed order.
at::Tensor linear_grad_bias(const at::Tensor& dy);

}  // namespace tessera::kernels
