// Rotary embedding against a float64 rotation, and its tables against closed forms.
#include "kernels/rope.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/outer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

/// Complex rotation of the pairs (i, i + d/2), in float64.
at::Tensor rotated(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, double sign) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor c = wide(table.cos).index_select(0, positions).unsqueeze(1);
  const at::Tensor s = wide(table.sin).index_select(0, positions).unsqueeze(1) * sign;
  const at::Tensor x64 = wide(x), a = x64.narrow(2, 0, half), b = x64.narrow(2, half, half);
  at::Tensor out = at::empty_like(x64);
  out.narrow(2, 0, half).copy_(a * c - b * s);
  out.narrow(2, half, half).copy_(b * c + a * s);
  return out;
}

TEST(Rope, RotatesEachHeadByItsPosition) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (int64_t d : {2, 6, 32, 64, 80, 128}) {
        for (int64_t tokens : {0, 1, 37}) {
          SCOPED_TRACE(cat(dtype, " d=", d, " T=", tokens));
          const RopeTable table = make_rope_table(50, d, 10000);
          const at::Tensor x = random_tensor({tokens, 3, d}, dtype, 1),
                           positions = random_integers(50, {tokens}, 2);
          at::Tensor out = at::empty_like(x);
          rope(x, out, table, positions);
          expect_close(out, rotated(x, table, positions, 1), tolerance(dtype));
          rope(x, out, table, positions, /*inverse=*/true);
          expect_close(out, rotated(x, table, positions, -1), tolerance(dtype));
        }
      }
    }
  });
}

TEST(Rope, RotatesAPartOfEachHeadAndCopiesTheRest) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const auto& [d, part] : {std::pair{6, 2}, {16, 12}, {80, 64}, {96, 32}}) {
        SCOPED_TRACE(cat(dtype, " ", part, " of ", d));
        const RopeTable table = make_rope_table(50, part, 10000);
        const at::Tensor x = random_tensor({9, 3, d}, dtype, 1), positions = random_integers(50, {9}, 2);
        const at::Tensor out = at::empty_like(x);
        rope(x, out, table, positions);
        const double tol = dtype == at::kHalf ? 1e-3 : tolerance(dtype);
        expect_close(out.narrow(2, 0, part), rotated(x.narrow(2, 0, part), table, positions, 1), tol);
        EXPECT_TRUE(same_bits(out.narrow(2, part, d - part), x.narrow(2, part, d - part)));
        rope(x, x, table, positions);
        EXPECT_TRUE(same_bits(x, out));
      }
    }
  });
}

TEST(Rope, InPlaceOnASliceOfAFusedProjectionLeavesTheRestAlone) {
  const RopeTable table = make_rope_table(16, 8, 10000);
  const at::Tensor qkv = random_tensor({5, 6 * 8}, at::kFloat, 1), before = qkv.clone();
  const at::Tensor positions = at::arange(5, at::kLong);
  const at::Tensor k = qkv.narrow(1, 4 * 8, 8).view({5, 1, 8});
  rope(k, k, table, positions);
  expect_close(k, rotated(before.narrow(1, 32, 8).view({5, 1, 8}), table, positions, 1), 2e-6);
  EXPECT_TRUE(same_bits(qkv.narrow(1, 0, 32), before.narrow(1, 0, 32)));
  EXPECT_TRUE(same_bits(qkv.narrow(1, 40, 8), before.narrow(1, 40, 8)));
}

TEST(Rope, OtherDtypesTakeTheComposition) {
  const RopeTable table = make_rope_table(16, 8, 10000);
  const at::Tensor x = random_tensor({5, 2, 8}, at::kHalf, 1), positions = at::arange(5, at::kLong);
  at::Tensor out = at::empty_like(x);
  rope(x, out, table, positions);
  expect_close(out, rotated(x, table, positions, 1), 1e-3);
}

TEST(RopeTable, HasTheAnglesOfTheFormula) {
  const RopeTable table = make_rope_table(100, 16, 500000);
  const at::Tensor inv_freq = (at::arange(0, 16, 2, at::kDouble) / -16.0 * std::log(500000.0)).exp();
  const at::Tensor angle = at::outer(at::arange(100, at::kDouble), inv_freq);
  EXPECT_LT((wide(table.cos) - angle.cos()).abs().max().item<double>(), 1e-5);
  EXPECT_LT((wide(table.sin) - angle.sin()).abs().max().item<double>(), 1e-5);
}

TEST(RopeTable, LinearScalingDividesThePositions) {
  const RopeScaling by4{.kind = RopeScaling::Kind::linear, .factor = 4};
  const RopeTable scaled = make_rope_table(40, 8, 10000, by4), plain = make_rope_table(40, 8, 10000);
  for (int64_t p = 0; p < 10; ++p) expect_close(scaled.cos[4 * p], plain.cos[p], 1e-6);
}

TEST(RopeTable, LongropeDividesByTheFactorsOfTheLengthAndScalesTheTable) {
  RopeScaling longrope;
  longrope.kind = RopeScaling::Kind::longrope;
  longrope.short_factor = {1, 1.5, 2, 4};
  longrope.long_factor = {2, 3, 8, 20};
  longrope.attention_factor = 1.25;
  for (const bool is_long : {false, true}) {
    const RopeTable table = make_rope_table(20, 8, 10000, longrope, is_long);
    for (int64_t i = 0; i < 4; ++i) {
      const double factor = (is_long ? longrope.long_factor : longrope.short_factor)[static_cast<size_t>(i)];
      const double angle = 19 * std::pow(10000.0, -2.0 * static_cast<double>(i) / 8) / factor;
      EXPECT_NEAR(table.cos[19][i].item<double>(), 1.25 * std::cos(angle), 5e-6) << i;
      EXPECT_NEAR(table.sin[19][i].item<double>(), 1.25 * std::sin(angle), 5e-6) << i;
    }
  }
  EXPECT_THROW(make_rope_table(20, 6, 10000, longrope), Error);
  longrope.short_factor[2] = 0;
  EXPECT_THROW(make_rope_table(20, 8, 10000, longrope), Error);
}

/// x with the elements of neighbouring pairs brought to the two halves.
at::Tensor as_halves(const at::Tensor& x) {
  return x.reshape({x.size(0), x.size(1), x.size(2) / 2, 2}).transpose(2, 3).reshape(x.sizes());
}

TEST(Rope, NeighboursRotateLikeHalves) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (int64_t d : {2, 6, 32, 64, 80}) {
        SCOPED_TRACE(cat(dtype, " d=", d));
        RopeTable table = make_rope_table(50, d, 10000);
        const at::Tensor x = random_tensor({9, 3, d}, dtype, 1), positions = random_integers(50, {9}, 2);
        for (const bool inverse : {false, true}) {
          const at::Tensor expected = rotated(as_halves(x), table, positions, inverse ? -1 : 1);
          RopeTable neighbours = table;
          neighbours.pairs = RopePairs::neighbours;
          const at::Tensor out = at::empty_like(x);
          rope(x, out, neighbours, positions, inverse);
          expect_close(as_halves(out), expected, dtype == at::kHalf ? 1e-3 : tolerance(dtype));
        }
      }
    }
  });
}

TEST(Rope, NeighboursInTheEndsOfHeads) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      RopeTable table = make_rope_table(50, 12, 10000);
      table.pairs = RopePairs::neighbours;
      const at::Tensor x = random_tensor({9, 3, 20}, dtype, 1), positions = random_integers(50, {9}, 2);
      const at::Tensor before = x.clone(), alone = x.narrow(2, 8, 12).contiguous();
      rope(alone, alone, table, positions);
      const at::Tensor end = x.narrow(2, 8, 12);
      rope(end, end, table, positions);
      EXPECT_TRUE(same_bits(end, alone));
      EXPECT_TRUE(same_bits(x.narrow(2, 0, 8), before.narrow(2, 0, 8)));
      // A table for fewer elements: those behind them are copied.
      const at::Tensor out = at::empty_like(x);
      rope(before, out, table, positions);
      EXPECT_TRUE(same_bits(out.narrow(2, 12, 8), before.narrow(2, 12, 8)));
      EXPECT_FALSE(same_bits(out.narrow(2, 0, 12), before.narrow(2, 0, 12)));
    }
  });
}

TEST(RopeTable, YarnKeepsFastAndStretchesSlowFrequencies) {
  RopeScaling yarn;
  yarn.kind = RopeScaling::Kind::yarn;
  yarn.factor = 8;
  yarn.original_max_positions = 1024;
  yarn.attention_factor = 1.25;
  for (const bool truncate : {true, false}) {
    yarn.truncate = truncate;
    const RopeTable table = make_rope_table(2, 64, 10000, yarn);
    const auto index_of = [](double turns) {
      return 64 * std::log(1024 / (turns * 2 * M_PI)) / (2 * std::log(10000.0));
    };
    double low = index_of(32), high = index_of(1);
    if (truncate) low = std::floor(low), high = std::ceil(high);
    for (int64_t i = 0; i < 32; ++i) {
      const double f = std::pow(10000.0, -2.0 * static_cast<double>(i) / 64);
      const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      const double angle = f * (1 - ramp) + f / 8 * ramp;
      EXPECT_NEAR(table.cos[1][i].item<double>(), 1.25 * std::cos(angle), 1e-6) << i;
      EXPECT_NEAR(table.sin[1][i].item<double>(), 1.25 * std::sin(angle), 1e-6) << i;
    }
  }
  EXPECT_THROW(make_rope_table(2, 64, 1, yarn), Error);
}

TEST(RopeTable, Llama3ScalingKeepsShortAndStretchesLongWavelengths) {
  const RopeScaling llama3{RopeScaling::Kind::llama3, 8, 1, 4, 8192, {}, {}};
  const RopeTable scaled = make_rope_table(2, 128, 500000, llama3), plain = make_rope_table(2, 128, 500000);
  for (int64_t i = 0; i < 64; ++i) {
    const double f = std::pow(500000.0, -2.0 * static_cast<double>(i) / 128), wavelength = 2 * M_PI / f;
    double expected = f;
    if (wavelength > 8192) {
      expected = f / 8;
    } else if (wavelength > 8192.0 / 4) {
      const double smooth = (8192 / wavelength - 1) / 3;
      expected = (1 - smooth) * f / 8 + smooth * f;
    }
    EXPECT_NEAR(scaled.sin[1][i].item<double>(), std::sin(expected), 1e-6) << i;
    if (wavelength < 8192.0 / 4) EXPECT_EQ(scaled.sin[1][i].item<float>(), plain.sin[1][i].item<float>());
  }
}

TEST(Rope, RefusesWhatDoesNotFit) {
  const RopeTable table = make_rope_table(4, 8, 10000);
  const at::Tensor x = at::ones({2, 1, 8});
  EXPECT_THROW(rope(x, x, table, at::ones({2}, at::kLong) * 4), Error);
  EXPECT_THROW(rope(x, x, table, at::ones({2}, at::kLong) * -1), Error);
  EXPECT_THROW(rope(x, x, table, at::ones({3}, at::kLong)), Error);
  EXPECT_THROW(rope(at::ones({2, 1, 6}), at::ones({2, 1, 6}), table, at::ones({2}, at::kLong)), Error);
  EXPECT_THROW(make_rope_table(4, 7, 10000), Error);
  EXPECT_THROW(make_rope_table(4, 8, 0), Error);
  EXPECT_THROW(make_rope_table(4, 8, 10000, {RopeScaling::Kind::llama3, 8, 4, 4, 8192, {}, {}}), Error);
}

}  // namespace
}  // namespace tessera::kernels
