// Float8 casts and products: scales, saturation and formats are those of PyTorch, products those of its
// _scaled_mm, and errors those of the formats.
#include "kernels/float8.h"

#include <ATen/ops/_scaled_mm.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "support/single_rank.h"

namespace tessera::kernels {
namespace {

using testing::relative_error;

constexpr at::ScalarType kE4 = at::kFloat8_e4m3fn;
constexpr at::ScalarType kE5 = at::kFloat8_e5m2;

at::Tensor random(int64_t rows, int64_t columns, unsigned seed, float spread = 1) {
  at::Tensor out = at::zeros({rows, columns}, at::kFloat);
  auto* values = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    seed = seed * 1664525U + 1013904223U;
    values[i] = spread * (static_cast<float>(seed >> 8) / static_cast<float>(1U << 23) - 1);
  }
  return out;
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kFloat).matmul(b.to(at::kFloat));
}

/// The three products of a linear layer.
at::Tensor forward(const at::Tensor& x, const at::Tensor& w, Float8Recipe recipe) {
  Float8Casts input(x, float8_rule(recipe, Float8Role::input));
  Float8Casts weight(w, float8_rule(recipe, Float8Role::weight));
  return float8_mm(input.rows(), weight.rows(), x.scalar_type(), true);
}
at::Tensor grad_input(const at::Tensor& dy, const at::Tensor& w, Float8Recipe recipe) {
  Float8Casts gradient(dy, float8_rule(recipe, Float8Role::output_gradient));
  Float8Casts weight(w, float8_rule(recipe, Float8Role::weight));
  return float8_mm(gradient.rows(), weight.transposed(), dy.scalar_type(), false);
}
at::Tensor grad_weight(const at::Tensor& x, const at::Tensor& dy, Float8Recipe recipe) {
  Float8Casts gradient(dy, float8_rule(recipe, Float8Role::output_gradient), true);
  Float8Casts input(x, float8_rule(recipe, Float8Role::input));
  return float8_mm(gradient.transposed(), input.transposed(), x.scalar_type(), false);
}

TEST(Float8, ScalesBringTheLargestValueToTheLargestOfTheFormat) {
  const at::Tensor x = at::tensor({0.5F, -2.0F, 0.25F, 1.0F, 8.0F, -0.125F}).view({2, 3});
  const Float8Matrix all = to_float8(x, kE4, Float8Axis::all, false);
  EXPECT_FLOAT_EQ(all.scale.item<float>(), 8.0F / 448);
  EXPECT_EQ(all.values.to(at::kFloat).abs().max().item<float>(), 448);
  const Float8Matrix rows = to_float8(x, kE5, Float8Axis::row, false);
  EXPECT_EQ(rows.scale.sizes(), (std::vector<int64_t>{2, 1}));
  EXPECT_FLOAT_EQ(rows.scale.select(0, 0).item<float>(), 2.0F / 57344);
  const Float8Matrix columns = to_float8(x, kE4, Float8Axis::column, false);
  EXPECT_EQ(columns.scale.sizes(), (std::vector<int64_t>{1, 3}));
  EXPECT_FLOAT_EQ(columns.scale.select(1, 2).item<float>(), 0.25F / 448);
  // Powers of two: what multiplies is rounded down, so nothing is cut.
  const Float8Matrix rounded = to_float8(x, kE4, Float8Axis::all, true);
  EXPECT_EQ(rounded.scale.item<float>(), 1.0F / 32);  // 448 / 8 = 56
  // Also just below a power of two, where the logarithm rounds to it: 448 / 1.75 = 256.
  const at::Tensor above = at::full({1, 16}, std::nextafterf(1.75F, 2));
  EXPECT_EQ(to_float8(above, kE4, Float8Axis::row, true).scale.item<float>(), 1.0F / 128);
  EXPECT_EQ(to_float8(at::full({1, 16}, 1.75F), kE4, Float8Axis::row, true).scale.item<float>(), 1.0F / 256);
}

TEST(Float8, ValuesAreRoundedOnceAsPyTorchRoundsThem) {
  const at::Tensor x = random(64, 48, 1);
  for (const at::ScalarType dtype : {kE4, kE5}) {
    const Float8Matrix m = to_float8(x, dtype, Float8Axis::all, true);
    EXPECT_TRUE(at::equal(m.values.to(at::kFloat), x.div(m.scale).to(dtype).to(at::kFloat)));
    // Half a unit in the last place of a value in [1, 2).
    const double ulp = dtype == kE4 ? 1.0 / 16 : 1.0 / 8;
    const at::Tensor back = m.values.to(at::kFloat).mul(m.scale);
    const at::Tensor error = back.sub(x).abs().div(x.abs().clamp_min(0.05));
    EXPECT_LE(error.max().item<double>(), ulp);
  }
}

TEST(Float8, ZerosAndEmptyMatricesStayWhatTheyAre) {
  const Float8Matrix m = to_float8(at::zeros({4, 4}), kE4, Float8Axis::row, true);
  EXPECT_EQ(m.values.to(at::kFloat).abs().sum().item<float>(), 0);
  EXPECT_TRUE(std::isfinite(m.scale.select(0, 0).item<float>()));
  const at::Tensor none = at::zeros({0, 16});
  const at::Tensor weight = random(32, 16, 2);
  for (const Float8Recipe recipe : {Float8Recipe::tensorwise, Float8Recipe::rowwise}) {
    EXPECT_EQ(forward(none, weight, recipe).sizes(), (std::vector<int64_t>{0, 32}));
    EXPECT_EQ(grad_weight(none, at::zeros({0, 32}), recipe).abs().sum().item<float>(), 0);
  }
}

TEST(Float8, NanAndInfinityAreNotHidden) {
  at::Tensor x = random(4, 16, 3);
  x.select(0, 1).select(0, 2).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor weight = random(16, 16, 4);
  for (const Float8Recipe recipe : {Float8Recipe::tensorwise, Float8Recipe::rowwise}) {
    const at::Tensor y = forward(x, weight, recipe);
    EXPECT_TRUE(std::isnan(y.select(0, 1).sum().item<float>()));
  }
}

TEST(Float8, ProductsAreThoseOfScaledMm) {
  const at::Tensor x = random(32, 64, 5, 3).to(at::kBFloat16), w = random(48, 64, 6).to(at::kBFloat16);
  const Float8Recipe recipe = Float8Recipe::tensorwise;
  const Float8Matrix a = to_float8(x, kE4, Float8Axis::all, false);
  const Float8Matrix b = to_float8(w, kE4, Float8Axis::all, false);
  const at::Tensor expected = at::_scaled_mm(a.values, b.values.t(), a.scale.reshape({}), b.scale.reshape({}),
                                             std::nullopt, std::nullopt, at::kBFloat16, false);
  EXPECT_LT(relative_error(forward(x, w, recipe), expected), 2e-3);
}

TEST(Float8, EveryProductIsAsGoodAsItsFormats) {
  const at::Tensor x = random(80, 64, 7, 2), w = random(48, 64, 8, 0.1F), dy = random(80, 48, 9, 1e-4F);
  for (const auto& [recipe, gradient_error] : {std::pair{Float8Recipe::tensorwise, 0.07},
                                               {Float8Recipe::rowwise, 0.05},
                                               {Float8Recipe::rowwise_with_gw_hp, 0.05}}) {
    EXPECT_LT(relative_error(forward(x, w, recipe), product(x, w.t())), 0.05);
    EXPECT_LT(relative_error(grad_input(dy, w, recipe), product(dy, w)), gradient_error);
    if (recipe == Float8Recipe::rowwise_with_gw_hp) continue;
    EXPECT_LT(relative_error(grad_weight(x, dy, recipe), product(dy.t(), x)), gradient_error);
  }
}

TEST(Float8, RowwiseIsNotDisturbedByRowsOfOtherSizes) {
  // One row 10^6 times the others: with one scale the others are lost, with a scale each they are not.
  at::Tensor x = random(16, 64, 10);
  x.select(0, 0).mul_(1e6);
  const at::Tensor w = random(32, 64, 11);
  const auto error = [&](Float8Recipe recipe) {
    const at::Tensor y = forward(x, w, recipe);
    return relative_error(y.narrow(0, 1, 15), product(x, w.t()).narrow(0, 1, 15));
  };
  EXPECT_GT(error(Float8Recipe::tensorwise), 0.5);
  EXPECT_LT(error(Float8Recipe::rowwise), 0.05);
}

TEST(Float8, WrongArgumentsAreNamed) {
  EXPECT_THROW(parse_float8_recipe("e4m3"), Error);
  EXPECT_THROW(to_float8(at::zeros({4}), kE4, Float8Axis::all, false), Error);
  EXPECT_THROW(to_float8(at::zeros({4, 4}), at::kBFloat16, Float8Axis::all, false), Error);
  const Float8Matrix a = to_float8(random(4, 16, 1), kE4, Float8Axis::column, false);
  EXPECT_THROW(float8_mm(a, a, at::kFloat, false), Error);
  const Float8Matrix b = to_float8(random(4, 32, 1), kE4, Float8Axis::row, false);
  EXPECT_THROW(float8_mm(a, b, at::kFloat, false), Error);
  EXPECT_THROW(Float8Casts(at::zeros({4}), {}), Error);
}

}  // namespace
}  // namespace tessera::kernels
