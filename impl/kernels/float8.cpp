// Casts with dynamic scales, and products through _scaled_mm or in float32.
#include "kernels/float8.h"

#include <ATen/ops/_scaled_mm.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "core/error.h"
#include "kernels/cuda/dispatch.h"

namespace tessera::kernels {
namespace {

constexpr double kSmallestAmax = 1e-12;

double largest(at::ScalarType dtype) {
  TESSERA_CHECK(dtype == at::kFloat8_e4m3fn || dtype == at::kFloat8_e5m2, argument, "float8: dtype ",
                c10::toString(dtype), " is neither float8_e4m3fn nor float8_e5m2");
  return dtype == at::kFloat8_e4m3fn ? 448 : 57344;
}

CudaFloat8 cuda_format(at::ScalarType dtype) {
  return dtype == at::kFloat8_e4m3fn ? CudaFloat8::e4m3 : CudaFloat8::e5m2;
}

int64_t padded(int64_t n) {
  return (n + kFloat8Multiple - 1) / kFloat8Multiple * kFloat8Multiple;
}

// The largest powers of two that are not above positive numbers; zeros and NaN stay. torchao has exp2(floor(
// log2(x))), which for the last few numbers below a power of two gives that power where log2 rounds up to it.
at::Tensor powers_of_two_below(const at::Tensor& x) {
  constexpr int32_t kSignAndExponent = static_cast<int32_t>(0xff800000U);
  const at::Tensor cut = at::bitwise_and(x.view(at::kInt), kSignAndExponent).view(at::kFloat);
  return at::where(at::isnan(x), x, cut);
}

// What values are multiplied by: in float64 up to its rounding, as torchao has it.
at::Tensor factor_of(const at::Tensor& amax, at::ScalarType dtype) {
  return at::reciprocal(at::clamp(amax.to(at::kDouble), kSmallestAmax)).mul_(largest(dtype)).to(at::kFloat);
}

Float8Matrix transpose(const Float8Matrix& m) {
  return {m.values.t(), m.scale.t()};
}

// _scaled_mm reads `a` row by row and `b` column by column, and wants its inner size in blocks of 16: what
// kernels have cast comes that way.
at::Tensor with_whole_blocks(const at::Tensor& values) {
  const int64_t missing = padded(values.size(1)) - values.size(1);
  if (missing == 0) return values.contiguous();
  // Padded as bytes: zero is zero in every format.
  return at::constant_pad_nd(values.contiguous().view(at::kByte), {0, missing}).view(values.scalar_type());
}

// Checks of _scaled_mm (PyTorch 2.11) that no operand of a linear layer fails: K and N multiples of 16 (M may
// be any), not both in e5m2, a row-major and b column-major, scales float32 and on the device, one each, or
// [M, 1] and [1, N] and contiguous; results of rowwise scales in bfloat16.
at::Tensor scaled_mm(const Float8Matrix& a, const Float8Matrix& b, at::ScalarType out, bool fast) {
  const bool rowwise = a.scale.numel() > 1 || b.scale.numel() > 1;
  const at::ScalarType type = rowwise ? at::kBFloat16 : out;
  const at::Tensor a_scale = rowwise ? a.scale.contiguous() : a.scale.reshape({});
  const at::Tensor b_scale = rowwise ? b.scale.contiguous().t() : b.scale.reshape({});
  return at::_scaled_mm(with_whole_blocks(a.values), with_whole_blocks(b.values).t(), a_scale, b_scale,
                        std::nullopt, std::nullopt, type, fast)
      .to(out);
}

}  // namespace

Float8Recipe parse_float8_recipe(const std::string& name) {
  if (name == "none") return Float8Recipe::none;
  if (name == "tensorwise") return Float8Recipe::tensorwise;
  if (name == "rowwise") return Float8Recipe::rowwise;
  if (name == "rowwise_with_gw_hp") return Float8Recipe::rowwise_with_gw_hp;
  throw Error(Code::argument, cat("float8 recipe \"", name,
                                  "\" is not known: none, tensorwise, rowwise and rowwise_with_gw_hp are"));
}

Float8Matrix to_float8(const at::Tensor& x, at::ScalarType dtype, Float8Axis axis, bool powers_of_two) {
  TESSERA_CHECK(x.dim() == 2, argument, "float8: ", x.sizes(), " is not a matrix");
  const double top = largest(dtype);
  at::Tensor amax;
  if (x.numel() == 0) {
    amax = at::zeros({axis == Float8Axis::row ? x.size(0) : 1, axis == Float8Axis::column ? x.size(1) : 1},
                     x.options().dtype(at::kFloat));
  } else if (axis == Float8Axis::all) {
    amax = at::amax(at::abs(x)).view({1, 1});
  } else {
    amax = at::amax(at::abs(x), {axis == Float8Axis::row ? 1 : 0}, /*keepdim=*/true);
  }
  at::Tensor scale = factor_of(amax, dtype);
  if (powers_of_two) scale = powers_of_two_below(scale);
  const at::Tensor scaled = at::mul(x.to(at::kFloat), scale).clamp_(-top, top);
  return {scaled.to(dtype), at::reciprocal(scale)};
}

namespace {

// Flat memory as rows that fill the kernels' blocks: a multiple of their vectors where it is one.
std::pair<int64_t, int64_t> rows_of(int64_t elements) {
  int64_t width = 1024;
  while (width > 1 && elements % width != 0) width /= 2;
  return width >= 8 ? std::pair(elements / width, width) : std::pair<int64_t, int64_t>(1, elements);
}

}  // namespace

void float8_raise_amax(const at::Tensor& amax, const at::Tensor& x) {
  if (x.numel() == 0) return;
  if (const CudaTable* cuda = cuda_loops({&x}); cuda && cuda_table({&amax, &x})) {
    const CudaCall call(*cuda, x);
    const auto [rows, width] = rows_of(x.numel());
    call.check(cuda->float8_amax(cuda_type(x), x.const_data_ptr(), width, rows, width, /*by_column=*/false,
                                 amax.mutable_data_ptr<float>(), call.stream()),
               "float8_amax");
    return;
  }
  amax.copy_(at::maximum(amax, at::amax(at::abs(x)).to(at::kFloat)));
}

void float8_cast_by(const at::Tensor& amax, const at::Tensor& x, at::ScalarType dtype, const at::Tensor& out,
                    const at::Tensor& scale) {
  if (const CudaTable* cuda = cuda_loops({&x}); x.numel() > 0 && cuda && cuda_table({&amax, &x, &out})) {
    const CudaCall call(*cuda, x);
    const auto [rows, width] = rows_of(x.numel());
    call.check(
        cuda->float8_cast(cuda_type(x), cuda_format(dtype), x.const_data_ptr(), width, rows, width,
                          /*by_column=*/false, amax.const_data_ptr<float>(), /*powers_of_two=*/false,
                          out.mutable_data_ptr(), nullptr, 0, scale.mutable_data_ptr<float>(), call.stream()),
        "float8_cast");
    return;
  }
  const at::Tensor factor = factor_of(amax, dtype);
  scale.copy_(at::reciprocal(factor));
  const double top = largest(dtype);
  out.copy_(at::mul(x.to(at::kFloat), factor).clamp_(-top, top).to(dtype).view(at::kByte));
}

Float8Rule float8_rule(Float8Recipe recipe, Float8Role role) {
  Float8Rule rule;
  if (recipe == Float8Recipe::tensorwise) {
    if (role == Float8Role::output_gradient) rule.dtype = at::kFloat8_e5m2;
    return rule;
  }
  rule.rows = Float8Axis::row;
  rule.transposed = recipe == Float8Recipe::rowwise ? Float8Axis::column : Float8Axis::all;
  rule.powers_of_two = true;
  return rule;
}

Float8Casts::Float8Casts(at::Tensor x, const Float8Rule& rule, bool both)
    : x_(std::move(x)), rule_(rule), both_(both) {
  TESSERA_CHECK(x_.dim() == 2, argument, "float8: ", x_.sizes(), " is not a matrix");
}

Float8Casts::Float8Casts(Float8Matrix rows) : rows_(std::move(rows)) {}

const Float8Matrix& Float8Casts::rows() {
  if (rows_.values.defined()) return rows_;
  if (x_.numel() > 0 && cuda_loops({&x_})) {
    cast_on_device(true, both_);
  } else {
    rows_ = to_float8(x_, rule_.dtype, rule_.rows, rule_.powers_of_two);
  }
  return rows_;
}

const Float8Matrix& Float8Casts::transposed() {
  if (transposed_.values.defined()) return transposed_;
  if (!x_.defined()) {  // it was given in float8
    transposed_ = transpose(rows_);
    if (const CudaTable* cuda = cuda_table({&rows_.values})) {
      const CudaCall call(*cuda, rows_.values);
      const int64_t rows = rows_.values.size(0), columns = rows_.values.size(1), width = padded(rows);
      transposed_.values = at::empty({columns, width}, rows_.values.options());
      const at::Tensor source = rows_.values.contiguous();
      call.check(cuda->float8_transpose(source.const_data_ptr(), rows, columns,
                                        transposed_.values.mutable_data_ptr(), width, call.stream()),
                 "float8_transpose");
    }
    return transposed_;
  }
  if (x_.numel() > 0 && cuda_loops({&x_})) {
    cast_on_device(both_, true);
  } else {
    transposed_ = transpose(to_float8(x_, rule_.dtype, rule_.transposed, rule_.powers_of_two));
  }
  return transposed_;
}

// Makes the forms that are asked for and not there yet. What the scales of the tiled cast follow from, amax,
// is found by the pass over rows where that comes first and both forms are wanted, else by a pass of its own.
void Float8Casts::cast_on_device(bool rows, bool transposed) {
  const CudaTable& table = *cuda_loops({&x_});
  const at::Tensor x = x_.stride(1) == 1 ? x_ : x_.contiguous();
  const int64_t height = x.size(0), width = x.size(1), stride = x.stride(0);
  const CudaCall call(table, x);
  const auto type = cuda_type(x);
  const CudaFloat8 format = cuda_format(rule_.dtype);
  const bool by_column = rule_.transposed == Float8Axis::column;
  const auto f32 = x.options().dtype(at::kFloat), f8 = x.options().dtype(rule_.dtype);
  const auto new_amax = [&] { return at::zeros({by_column ? width : 1}, f32); };
  const bool own_rows = rule_.rows == Float8Axis::row;

  if (rows && own_rows && !rows_.values.defined()) {
    if (transposed) amax_ = new_amax();
    rows_ = {at::empty({height, width}, f8), at::empty({height, 1}, f32)};
    call.check(
        table.float8_rows(type, format, x.const_data_ptr(), stride, height, width, rule_.powers_of_two,
                          rows_.values.mutable_data_ptr(), rows_.scale.mutable_data_ptr<float>(), by_column,
                          transposed ? amax_.mutable_data_ptr<float>() : nullptr, call.stream()),
        "float8_rows");
  }
  const bool tiled_rows = rows && !rows_.values.defined();
  const bool tiled_transposed = transposed && !transposed_.values.defined();
  if (!tiled_rows && !tiled_transposed) return;
  if (!amax_.defined()) {
    amax_ = new_amax();
    call.check(table.float8_amax(type, x.const_data_ptr(), stride, height, width, by_column,
                                 amax_.mutable_data_ptr<float>(), call.stream()),
               "float8_amax");
  }
  const at::Tensor scale = at::empty({by_column ? width : 1, 1}, f32);
  if (tiled_rows) rows_ = {at::empty({height, width}, f8), scale};
  if (tiled_transposed) transposed_ = {at::empty({width, padded(height)}, f8), scale};
  call.check(table.float8_cast(type, format, x.const_data_ptr(), stride, height, width, by_column,
                               amax_.const_data_ptr<float>(), rule_.powers_of_two,
                               tiled_rows ? rows_.values.mutable_data_ptr() : nullptr,
                               tiled_transposed ? transposed_.values.mutable_data_ptr() : nullptr,
                               padded(height), scale.mutable_data_ptr<float>(), call.stream()),
             "float8_cast");
}

at::Tensor float8_mm(const Float8Matrix& a, const Float8Matrix& b, at::ScalarType out, bool fast) {
  TESSERA_CHECK(a.values.dim() == 2 && b.values.dim() == 2 && a.values.size(1) == b.values.size(1), argument,
                "float8_mm: ", a.values.sizes(), " does not fit ", b.values.sizes(), " transposed");
  TESSERA_CHECK(a.scale.size(1) == 1 && b.scale.size(1) == 1, argument, "float8_mm: scales ", a.scale.sizes(),
                " and ", b.scale.sizes(), " lie along the sum");
  if (a.values.numel() == 0 || b.values.numel() == 0) {
    return at::zeros({a.values.size(0), b.values.size(0)}, a.scale.options().dtype(out));
  }
  Float8Matrix left = a, right = b;
  // One scale beside many is repeated: both sides' are of one kind.
  if (left.scale.numel() != right.scale.numel() || left.scale.numel() > 1) {
    left.scale = left.scale.expand({left.values.size(0), 1});
    right.scale = right.scale.expand({right.values.size(0), 1});
  }
  if (a.values.is_cuda()) return scaled_mm(left, right, out, fast);
  const at::Tensor product = at::mm(a.values.to(at::kFloat), b.values.to(at::kFloat).t());
  return at::mul(product, left.scale).mul_(right.scale.t()).to(out);
}

void check_float8(at::Device device, Float8Recipe recipe) {
  if (recipe == Float8Recipe::none || !device.is_cuda()) return;
  try {
    const at::Tensor x = at::zeros({16, 16}, at::dtype(at::kBFloat16).device(device));
    Float8Casts input(x, float8_rule(recipe, Float8Role::input));
    Float8Casts weight(x, float8_rule(recipe, Float8Role::weight));
    float8_mm(input.rows(), weight.rows(), at::kBFloat16, /*fast=*/true);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw Error(Code::unsupported,
                cat("float8: ", device, " cannot multiply in float8: ", text.substr(0, text.find('\n'))));
  }
}

}  // namespace tessera::kernels
