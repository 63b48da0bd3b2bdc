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

/// x (float32, bfloat16) in `dtype` (at::kFloat8_e4m3fn, at::kFloat8_e5m2), by operations of ATen: the rule
/// that the CUDA kernels keep to the last bit. A scale is amax / the largest value of the dtype, amax taken
/// as at least 1e-12; values beyond the largest are cut to it. With `powers_of_two` values are multiplied by
/// the largest power of two that is not above 1 / scale.
Float8Matrix to_float8(const at::Tensor& x, at::ScalarType dtype, Float8Axis axis, bool powers_of_two);

/// Raises amax (float32 [1], zero to begin with) to the largest absolute value of x (float32, bfloat16, any
/// shape, contiguous). NaN is larger than all.
void float8_raise_amax(const at::Tensor& amax, const at::Tensor& x);
/// The scale of to_float8(.., Float8Axis::all, false) for an amax [1] into `scale` [1], and x by it into
/// `out` (bytes: float8 of `dtype`). Both contiguous and of as many elements; parts of a matrix that are cast
/// with the amax of the whole are parts of its cast.
void float8_cast_by(const at::Tensor& amax, const at::Tensor& x, at::ScalarType dtype, const at::Tensor& out,
                    const at::Tensor& scale);

/// What a matrix is to a linear layer y = x Wᵀ.
enum class Float8Role : int { input = 0, weight = 1, output_gradient = 2 };

/// How a matrix is cast for the two products that it is in.
struct Float8Rule {
  at::ScalarType dtype = at::kFloat8_e4m3fn;
  Float8Axis rows = Float8Axis::all;        ///< of the matrix as it is: all, row
  Float8Axis transposed = Float8Axis::all;  ///< for the product over its other dimension: all, column
  bool powers_of_two = false;
};
/// Of rowwise_with_gw_hp, inputs and output gradients are in one product in float8 only: the rule for
/// `transposed` is not to be used.
Float8Rule float8_rule(Float8Recipe recipe, Float8Role role);

/// One matrix in the two forms that products read, each made when it is first asked for and kept. On CUDA by
/// kernels that write both layouts from the values once read; no host synchronisation.
class Float8Casts {
 public:
  Float8Casts() = default;
  /// x [rows, columns] is kept, not copied. `both`: both forms will be asked for, so that one reading of x
  /// can serve them.
  Float8Casts(at::Tensor x, const Float8Rule& rule, bool both = false);
  /// A weight that is in float8 already, with one scale [1, 1].
  explicit Float8Casts(Float8Matrix rows);

  bool defined() const { return x_.defined() || rows_.values.defined(); }
  /// x, for products that sum over its columns: scale [rows, 1] or [1, 1].
  const Float8Matrix& rows();
  /// xᵀ, for products that sum over its rows: scale [columns, 1] or [1, 1]. On CUDA its rows are padded with
  /// zeros to a multiple of kFloat8Multiple.
  const Float8Matrix& transposed();

 private:
  void cast_on_device(bool rows, bool transposed);

  at::Tensor x_;
  Float8Rule rule_;
  bool both_ = false;
  at::Tensor
      amax_;  // float32 [1] or [columns], what the scales of a tile's values follow from; may be undefined
  Float8Matrix rows_, transposed_;
};

/// a [M, K] and b [N, K] -> a bᵀ [M, N] in `out`. Scales are per row or one, of both the same kind. On CUDA
/// by _scaled_mm (compute capability 8.9 and later), elsewhere by the float32 product of the float8 values,
/// each of which is exact. `fast` lets tensor cores sum in fewer bits.
at::Tensor float8_mm(const Float8Matrix& a, const Float8Matrix& b, at::ScalarType out, bool fast);

/// Throws Error(unsupported) where `device` cannot multiply in float8.
void check_float8(at::Device device, Float8Recipe recipe);

}  // namespace tessera::kernels
