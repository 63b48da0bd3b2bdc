// Root mean square layer normalisation (Zhang & Sennrich, 2019), alone and fused with the residual addition.
//
// Numerics are those of Hugging Face's *RMSNorm modules: the statistics and the normalised value are computed
// in float32, the normalised value is rounded to the dtype of the input, and the product with the weight is
// rounded once more. Gemma's multiply by 1 + weight instead, all in float32, and round once.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::kernels {

/// What the normalised value is multiplied by.
enum class NormGain : int { weight = 0, one_plus_weight = 1 };

struct RmsNormResult {
  at::Tensor y;     ///< shaped and typed like x, contiguous
  at::Tensor rstd;  ///< float32, one per row: 1 / sqrt(mean(x^2) + eps)
};

/// Normalises the last dimension of x [..., H] and multiplies by weight [H]. x may be a view whose last
/// dimension is dense (a slice of a fused projection). For q/k norms pass [T, heads, d].
RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                       NormGain gain = NormGain::weight);

struct AddRmsNormResult {
  at::Tensor sum;   ///< x + residual, rounded to the dtype of x
  at::Tensor y;     ///< rms_norm(sum)
  at::Tensor rstd;  ///< float32, one per row
};

/// The residual addition and the norm after it in one pass: reads x and residual once, writes sum and y.
AddRmsNormResult add_rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                              double eps, NormGain gain = NormGain::weight);

struct RmsNormGrads {
  at::Tensor dx;       ///< shaped and typed like x, contiguous
  at::Tensor dweight;  ///< float32 [H]
};

/// Gradients of rms_norm. `x` is what was normalised (the sum, for add_rms_norm). When `dresidual` is
/// defined, the gradient that reaches x around the norm, it is added to dx in the same pass. The sum over
/// rows has a fixed order, whatever the number of threads.
RmsNormGrads rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& rstd, const at::Tensor& dresidual = {},
                               NormGain gain = NormGain::weight);

}  // namespace tessera::kernels
