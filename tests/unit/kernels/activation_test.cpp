// SwiGLU, GEGLU and clamped SwiGLU against float64 formulas.
#include "kernels/activation.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

TEST(Swiglu, MatchesFloat64ForwardAndBackward) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (auto [rows, f] : {std::pair<int64_t, int64_t>{0, 8}, {1, 1}, {3, 17}, {65, 100}, {7, 256}}) {
        SCOPED_TRACE(cat(dtype, " ", rows, " x ", f));
        const double tol = dtype == at::kHalf ? 1e-3 : tolerance(dtype);
        const at::Tensor fused = random_tensor({rows, 2 * f}, dtype, 1, 2.0),
                         dy = random_tensor({rows, f}, dtype, 2);
        const at::Tensor gate = fused.narrow(1, 0, f), up = fused.narrow(1, f, f);
        const at::Tensor g = wide(gate), u = wide(up), d = wide(dy), s = at::sigmoid(g);
        const at::Tensor y = swiglu(gate, up);
        expect_close(y, g * s * u, tol);
        const SwigluGrads grads = swiglu_backward(dy, gate, up, /*want_y=*/true);
        expect_close(grads.dgate, d * u * s * (g * (s * -1 + 1) + 1), tol);
        expect_close(grads.dup, d * g * s, tol);
        EXPECT_TRUE(same_bits(grads.y, y));
        EXPECT_FALSE(swiglu_backward(dy, gate, up).y.defined());
      }
    }
  });
}

TEST(Geglu, MatchesFloat64ForwardAndBackward) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (auto [rows, f] : {std::pair<int64_t, int64_t>{0, 8}, {1, 1}, {3, 17}, {65, 100}, {7, 256}}) {
        SCOPED_TRACE(cat(dtype, " ", rows, " x ", f));
        const double tol = dtype == at::kHalf ? 1e-3 : tolerance(dtype);
        const at::Tensor fused = random_tensor({rows, 2 * f}, dtype, 1, 2.0),
                         dy = random_tensor({rows, f}, dtype, 2);
        const at::Tensor gate = fused.narrow(1, 0, f), up = fused.narrow(1, f, f);
        const at::Tensor g = wide(gate), u = wide(up), d = wide(dy);
        const double root = std::sqrt(2 / M_PI);
        const at::Tensor t = ((g + g * g * g * 0.044715) * root).tanh();
        const at::Tensor y = geglu(gate, up);
        expect_close(y, g * (t + 1) * u / 2, tol);
        const at::Tensor dgate = at::empty_like(dy), dup = at::empty_like(dy), again = at::empty_like(dy);
        geglu_backward_out(dy, gate, up, dgate, dup, again);
        const at::Tensor slope = (t + 1) / 2 + g / 2 * (t * t * -1 + 1) * (g * g * (3 * 0.044715) + 1) * root;
        expect_close(dgate, d * u * slope, tol);
        expect_close(dup, d * g * (t + 1) / 2, tol);
        EXPECT_TRUE(same_bits(again, y));
      }
    }
  });
}

TEST(ClampedSwiglu, MatchesFloat64OnBothSidesOfItsBounds) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (auto [rows, f] : {std::pair<int64_t, int64_t>{0, 8}, {1, 1}, {3, 17}, {65, 100}, {7, 256}}) {
        SCOPED_TRACE(cat(dtype, " ", rows, " x ", f));
        const double tol = dtype == at::kHalf ? 1e-3 : tolerance(dtype);
        const at::Tensor fused = random_tensor({rows, 2 * f}, dtype, 1, 6.0),
                         dy = random_tensor({rows, f}, dtype, 2);
        const at::Tensor gate = fused.narrow(1, 0, f), up = fused.narrow(1, f, f);
        const at::Tensor g = wide(gate).clamp_max(7), u = wide(up).clamp(-7, 7) + 1, d = wide(dy);
        const at::Tensor s = at::sigmoid(g * 1.702);
        const at::Tensor y = gated(Activation::clamped_silu, gate, up);
        expect_close(y, u * g * s, tol);
        const at::Tensor dgate = at::empty_like(dy), dup = at::empty_like(dy), again = at::empty_like(dy);
        gated_backward_out(Activation::clamped_silu, dy, gate, up, dgate, dup, again);
        const at::Tensor slope = s + g * s * (s * -1 + 1) * 1.702;
        expect_close(dgate, (d * u * slope).masked_fill(wide(gate) > 7, 0), tol);
        expect_close(dup, (d * g * s).masked_fill(wide(up).abs() > 7, 0), tol);
        EXPECT_TRUE(same_bits(again, y));
      }
    }
  });
}

TEST(ClampedSwiglu, SaturatesAndKeepsNan) {
  for_each_isa([] {
    const at::Tensor gate = at::tensor({-1e30f, -100.f, 0.f, 7.f, 1e30f}).unsqueeze(0);
    const at::Tensor up = at::tensor({3.f, 1e30f, 1e30f, -1e30f, 1e30f}).unsqueeze(0);
    const at::Tensor y = gated(Activation::clamped_silu, gate, up);
    const double most = 7 * 8 / (1 + std::exp(-7 * 1.702));
    expect_close(y, at::tensor({0., 0., 0., -6. / 8 * most, most}).unsqueeze(0), 1e-6);
    const at::Tensor bad = at::ones({1, 5}) * std::nanf(""), one = at::ones({1, 5});
    EXPECT_TRUE(gated(Activation::clamped_silu, bad, one).isnan().all().item<bool>());
    EXPECT_TRUE(gated(Activation::clamped_silu, one, bad).isnan().all().item<bool>());
  });
}

TEST(Geglu, SaturatesWithoutOverflowAndKeepsNan) {
  for_each_isa([] {
    const at::Tensor gate = at::tensor({-1e30f, -100.f, 0.f, 100.f, 1e30f}).unsqueeze(0);
    const at::Tensor one = at::ones({1, 5}), dgate = at::empty({1, 5}), dup = at::empty({1, 5});
    EXPECT_TRUE(same_bits(geglu(gate, one), at::tensor({0.f, 0.f, 0.f, 100.f, 1e30f}).unsqueeze(0)));
    geglu_backward_out(one, gate, one, dgate, dup, {});
    EXPECT_TRUE(same_bits(dgate, at::tensor({0.f, 0.f, 0.5f, 1.f, 1.f}).unsqueeze(0)));
    EXPECT_TRUE(geglu(one * std::nanf(""), one).isnan().all().item<bool>());
  });
}

TEST(Swiglu, BackwardMayOverwriteItsInputs) {
  for (at::ScalarType dtype : {at::kFloat, at::kHalf}) {
    const at::Tensor fused = random_tensor({9, 40}, dtype, 1), dy = random_tensor({9, 20}, dtype, 2);
    const at::Tensor gate = fused.narrow(1, 0, 20), up = fused.narrow(1, 20, 20);
    const SwigluGrads apart = swiglu_backward(dy, gate, up);
    swiglu_backward_out(dy, gate, up, gate, up, {});
    EXPECT_TRUE(same_bits(gate, apart.dgate));
    EXPECT_TRUE(same_bits(up, apart.dup));
  }
}

TEST(Swiglu, SaturatesWithoutOverflowAndKeepsNan) {
  for_each_isa([] {
    const at::Tensor gate = at::tensor({-1e4f, -100.f, 0.f, 100.f, 1e4f}).unsqueeze(0);
    const at::Tensor y = swiglu(gate, at::ones({1, 5}));
    EXPECT_TRUE(same_bits(y, at::tensor({0.f, 0.f, 0.f, 100.f, 1e4f}).unsqueeze(0)));
    const at::Tensor bad = at::ones({1, 5}) * std::nanf("");
    EXPECT_TRUE(swiglu(bad, at::ones({1, 5})).isnan().all().item<bool>());
    EXPECT_TRUE(swiglu(at::ones({1, 5}), bad).isnan().all().item<bool>());
  });
}

TEST(Swiglu, RefusesSizesThatDoNotFit) {
  EXPECT_THROW(swiglu(at::ones({2, 3}), at::ones({2, 4})), Error);
  EXPECT_THROW(swiglu_backward(at::ones({3, 3}), at::ones({2, 3}), at::ones({2, 3})), Error);
}

}  // namespace
}  // namespace tessera::kernels
