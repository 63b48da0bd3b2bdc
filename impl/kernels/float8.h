// The products of a linear layer in float8 with scales formed from the values themselves (Micikevicius et
// al., FP8 Formats for Deep Learning, 2022), by the recipes of torchao and torchtitan.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace tessera::kernels {

/// What is multiplied in which format. e4m3 has 4 exponent and 3 mantissa bits (largest 448), e5m2 5 and 2
/// (57344).
enum class Float8Recipe : int {
  none = 0,
  /// One scale a tensor; output gradients in e5m2, all else in e4m3.
  tensorwise = 1,
  /// A scale per row or column, along which the product does not sum; all in e4m3; scales are powers of two.
  rowwise = 2,
  /// As rowwise, but weights have one scale in the backward, and weight gradients are formed in the compute
  /// dtype.
  rowwise_with_gw_hp = 3,
};
/// Errors (argument): a name that is none of "none", "tensorwise", "rowwise", "rowwise_with_gw_hp".
Float8Recipe parse_float8_recipe(const std::string& name);

/// Sizes that the products need of a weight: the tensor cores' blocks.
inline constexpr int64_t kFloat8Multiple = 16;

/// A matrix in float8: values times scale.
struct Float8Matrix {
  at::Tensor values;  ///< float8, shaped as the source
  at::Tensor scale;   ///< float32 [1, 1], or [rows, 1], or [1, columns]
};

/// Values that share a scale.
enum class Float8Axis : int {
  all = 0,
  row = 1,     ///< a scale for each row
  column = 2,  ///< a scale for each column
};

/// x (float32, bfloat16) in `dtype` (at::kFloat8_e4m3fn, at::kFloat8_e5m2). A scale is amax / the largest
/// value of the dtype, amax taken as at least 1e-12; values beyond the largest are cut to it. With
/// `powers_of_two` values are multiplied by the power of two below 1 / scale.
Float8Matrix to_float8(const at::Tensor& x, at::ScalarType dtype, Float8Axis axis, bool powers_of_two);

/// a [M, K] b [K, N] -> [M, N] in `out`. On CUDA by _scaled_mm (compute capability 8.9 and later), elsewhere
/// by the float32 product of the float8 values, each of which is exact. Scales of `a` are per row or one, of
/// `b` per column or one, both of the same kind. `fast` lets tensor cores sum in fewer bits.
at::Tensor float8_mm(const Float8Matrix& a, const Float8Matrix& b, at::ScalarType out, bool fast);

/// x as the left operand of float8_linear, for several weights.
Float8Matrix float8_input(const at::Tensor& x, Float8Recipe recipe);
/// y [T, out] = x Wᵀ in the weight's dtype.
at::Tensor float8_linear(const Float8Matrix& x, const at::Tensor& weight, Float8Recipe recipe);
/// dx [T, in] = dy W.
at::Tensor float8_linear_grad_input(const at::Tensor& dy, const at::Tensor& weight, Float8Recipe recipe);
/// dW [out, in] = dyᵀ x; not for rowwise_with_gw_hp.
at::Tensor float8_linear_grad_weight(const at::Tensor& x, const at::Tensor& dy, Float8Recipe recipe);

/// Throws Error(unsupported) where `device` cannot multiply in float8.
void check_float8(at::Device device, Float8Recipe recipe);

}  // namespace tessera::kernels
