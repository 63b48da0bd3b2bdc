// Casts with dynamic scales, and products through _scaled_mm or in float32.
#include "kernels/float8.h"

#include <ATen/ops/_scaled_mm.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/exp2.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/log2.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace tessera::kernels {
namespace {

constexpr double kSmallestAmax = 1e-12;

bool by_rows(Float8Recipe recipe) {
  return recipe == Float8Recipe::rowwise || recipe == Float8Recipe::rowwise_with_gw_hp;
}

double largest(at::ScalarType dtype) {
  TESSERA_CHECK(dtype == at::kFloat8_e4m3fn || dtype == at::kFloat8_e5m2, argument, "float8: dtype ",
                c10::toString(dtype), " is neither float8_e4m3fn nor float8_e5m2");
  return dtype == at::kFloat8_e4m3fn ? 448 : 57344;
}

// The dtype of output gradients.
at::ScalarType gradient_dtype(Float8Recipe recipe) {
  return by_rows(recipe) ? at::kFloat8_e4m3fn : at::kFloat8_e5m2;
}

Float8Matrix cast(const at::Tensor& x, at::ScalarType dtype, Float8Recipe recipe, Float8Axis axis) {
  return to_float8(x, dtype, by_rows(recipe) ? axis : Float8Axis::all, by_rows(recipe));
}

Float8Matrix transposed(const Float8Matrix& m) {
  return {m.values.t(), m.scale.t()};
}

// _scaled_mm reads `a` row by row and `b` column by column, and wants its inner size in blocks of 16.
at::Tensor scaled_mm(const Float8Matrix& a, const Float8Matrix& b, at::ScalarType out, bool fast) {
  at::Tensor left = a.values, right = b.values.t();
  const int64_t missing = -left.size(1) & (kFloat8Multiple - 1);
  if (missing > 0) {
    // Padded as bytes: zero is zero in every format.
    const auto pad = [&](const at::Tensor& t) {
      return at::constant_pad_nd(t.contiguous().view(at::kByte), {0, missing}).view(t.scalar_type());
    };
    left = pad(left);
    right = pad(right);
  }
  // Rowwise scales come with bfloat16 results only.
  const bool rowwise = a.scale.numel() > 1 || b.scale.numel() > 1;
  const at::ScalarType type = rowwise ? at::kBFloat16 : out;
  const at::Tensor a_scale = rowwise ? a.scale.contiguous() : a.scale.reshape({});
  const at::Tensor b_scale = rowwise ? b.scale.contiguous() : b.scale.reshape({});
  return at::_scaled_mm(left.contiguous(), right.contiguous().t(), a_scale, b_scale, std::nullopt,
                        std::nullopt, type, fast)
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
  // In float64 up to the rounding of the scale, as torchao has it.
  at::Tensor scale = at::reciprocal(at::clamp(amax.to(at::kDouble), kSmallestAmax)).mul_(top).to(at::kFloat);
  if (powers_of_two) scale = at::exp2(at::floor(at::log2(scale)));
  const at::Tensor scaled = at::mul(x.to(at::kFloat), scale).clamp_(-top, top);
  return {scaled.to(dtype), at::reciprocal(scale)};
}

at::Tensor float8_mm(const Float8Matrix& a, const Float8Matrix& b, at::ScalarType out, bool fast) {
  TESSERA_CHECK(a.values.dim() == 2 && b.values.dim() == 2 && a.values.size(1) == b.values.size(0), argument,
                "float8_mm: ", a.values.sizes(), " does not fit ", b.values.sizes());
  TESSERA_CHECK(a.scale.size(1) == 1 && b.scale.size(0) == 1, argument, "float8_mm: scales ", a.scale.sizes(),
                " and ", b.scale.sizes(), " lie along the sum");
  if (a.values.numel() == 0 || b.values.numel() == 0) {
    return at::zeros({a.values.size(0), b.values.size(1)}, a.scale.options().dtype(out));
  }
  if (a.values.is_cuda()) return scaled_mm(a, b, out, fast);
  const at::Tensor product = at::mm(a.values.to(at::kFloat), b.values.to(at::kFloat));
  return at::mul(product, a.scale).mul_(b.scale).to(out);
}

Float8Matrix float8_input(const at::Tensor& x, Float8Recipe recipe) {
  return cast(x, at::kFloat8_e4m3fn, recipe, Float8Axis::row);
}

at::Tensor float8_linear(const Float8Matrix& x, const at::Tensor& weight, Float8Recipe recipe) {
  const Float8Matrix w = cast(weight, at::kFloat8_e4m3fn, recipe, Float8Axis::row);
  return float8_mm(x, transposed(w), weight.scalar_type(), /*fast=*/true);
}

at::Tensor float8_linear_grad_input(const at::Tensor& dy, const at::Tensor& weight, Float8Recipe recipe) {
  const Float8Matrix left = cast(dy, gradient_dtype(recipe), recipe, Float8Axis::row);
  Float8Matrix w;
  if (recipe == Float8Recipe::rowwise_with_gw_hp) {
    // One scale, repeated: the product takes both sides' scales of one kind.
    w = to_float8(weight, at::kFloat8_e4m3fn, Float8Axis::all, true);
    w.scale = w.scale.expand({1, weight.size(1)});
  } else {
    w = cast(weight, at::kFloat8_e4m3fn, recipe, Float8Axis::column);
  }
  return float8_mm(left, w, weight.scalar_type(), /*fast=*/false);
}

at::Tensor float8_linear_grad_weight(const at::Tensor& x, const at::Tensor& dy, Float8Recipe recipe) {
  TESSERA_CHECK(recipe == Float8Recipe::tensorwise || recipe == Float8Recipe::rowwise, internal,
                "the recipe forms weight gradients in the compute dtype");
  const Float8Matrix left = cast(dy, gradient_dtype(recipe), recipe, Float8Axis::column);
  const Float8Matrix right = cast(x, at::kFloat8_e4m3fn, recipe, Float8Axis::column);
  return float8_mm(transposed(left), right, x.scalar_type(), /*fast=*/false);
}

void check_float8(at::Device device, Float8Recipe recipe) {
  if (recipe == Float8Recipe::none || !device.is_cuda()) return;
  try {
    const at::Tensor x = at::zeros({16, 16}, at::dtype(at::kBFloat16).device(device));
    float8_linear(float8_input(x, recipe), x, recipe);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw Error(Code::unsupported,
                cat("float8: ", device, " cannot multiply in float8: ", text.substr(0, text.find('\n'))));
  }
}

}  // namespace tessera::kernels
