// RMSNorm against float64 references.
#include "kernels/norm.h"

#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

/// Runs `body` for both dtypes, for no, one and many rows, and for rows that vectors divide and do not
/// divide.
template <class Body>
void for_shapes(const Body& body) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t rows : {0, 1, 7, 130}) {
      for (int64_t h : {3, 16, 64, 100, 1027}) {
        SCOPED_TRACE(cat(dtype, " ", rows, " x ", h));
        body(dtype, rows, h);
      }
    }
  }
}

void matches_float64(at::ScalarType dtype, int64_t rows, int64_t h) {
  const double eps = 1e-5;
  const at::Tensor x = random_tensor({rows, h}, dtype, 1, 3.0), w = random_tensor({h}, dtype, 2);
  const at::Tensor dy = random_tensor({rows, h}, dtype, 3), dres = random_tensor({rows, h}, dtype, 4);
  const at::Tensor x64 = wide(x), w64 = wide(w), dy64 = wide(dy);
  const at::Tensor rstd64 = (x64 * x64).mean(-1, true).add(eps).rsqrt();
  const at::Tensor hat = x64 * rstd64, g = dy64 * w64;
  const at::Tensor dx64 = (g - hat * (g * hat).mean(-1, true)) * rstd64;

  const RmsNormResult r = rms_norm(x, w, eps);
  expect_close(r.y, hat * w64, tolerance(dtype, 2));
  expect_close(r.rstd, rstd64.reshape({-1}), 1e-6);
  EXPECT_EQ(r.y.scalar_type(), dtype);

  const RmsNormGrads plain = rms_norm_backward(dy, x, w, r.rstd);
  expect_close(plain.dx, dx64, tolerance(dtype));
  expect_close(plain.dweight, (dy64 * hat).sum(0), 2e-6);
  const RmsNormGrads fused = rms_norm_backward(dy, x, w, r.rstd, dres);
  expect_close(fused.dx, dx64 + wide(dres), tolerance(dtype));
  EXPECT_TRUE(same_bits(fused.dweight, plain.dweight));
}

TEST(Norm, MatchesFloat64ForwardAndBackward) {
  for_shapes(matches_float64);
}

void fused_equals_apart(at::ScalarType dtype, int64_t rows, int64_t h) {
  const at::Tensor x = random_tensor({rows, h}, dtype, 1), res = random_tensor({rows, h}, dtype, 2);
  const at::Tensor w = random_tensor({h}, dtype, 3);
  const AddRmsNormResult fused = add_rms_norm(x, res, w, 1e-6);
  EXPECT_TRUE(same_bits(fused.sum, x + res));
  const RmsNormResult apart = rms_norm(fused.sum, w, 1e-6);
  EXPECT_TRUE(same_bits(fused.y, apart.y));
  EXPECT_TRUE(same_bits(fused.rstd, apart.rstd));
}

// Gemma's: multiplied by 1 + weight in float32 and rounded once.
void one_plus_weight_matches_float64(at::ScalarType dtype, int64_t rows, int64_t h) {
  const double eps = 1e-5;
  const at::Tensor x = random_tensor({rows, h}, dtype, 1, 3.0), w = random_tensor({h}, dtype, 2);
  const at::Tensor res = random_tensor({rows, h}, dtype, 5), dy = random_tensor({rows, h}, dtype, 3);
  const at::Tensor x64 = wide(x), gain64 = wide(w) + 1, dy64 = wide(dy);
  const at::Tensor rstd64 = (x64 * x64).mean(-1, true).add(eps).rsqrt();
  const at::Tensor hat = x64 * rstd64, g = dy64 * gain64;

  const RmsNormResult r = rms_norm(x, w, eps, NormGain::one_plus_weight);
  expect_close(r.y, hat * gain64, tolerance(dtype));
  const RmsNormGrads grads = rms_norm_backward(dy, x, w, r.rstd, {}, NormGain::one_plus_weight);
  expect_close(grads.dx, (g - hat * (g * hat).mean(-1, true)) * rstd64, tolerance(dtype));
  expect_close(grads.dweight, (dy64 * hat).sum(0), 2e-6);
  const AddRmsNormResult fused = add_rms_norm(x, res, w, eps, NormGain::one_plus_weight);
  EXPECT_TRUE(same_bits(fused.y, rms_norm(fused.sum, w, eps, NormGain::one_plus_weight).y));
}

TEST(Norm, MultipliesByOnePlusTheWeightForGemma) {
  for_each_isa([] { for_shapes(one_plus_weight_matches_float64); });
  const at::Tensor x = random_tensor({6, 20}, at::kDouble, 1), w = random_tensor({20}, at::kDouble, 2);
  const at::Tensor y = rms_norm(x, w, 1e-6, NormGain::one_plus_weight).y;
  expect_close(y, x * (x * x).mean(-1, true).add(1e-6).rsqrt() * (w + 1), 2e-6);
}

TEST(Norm, FusedResidualEqualsAddThenNorm) {
  for_shapes(fused_equals_apart);
}

TEST(Norm, RoundsTheNormalisedValueBeforeTheWeightAsHuggingFaceDoes) {
  const at::Tensor x = random_tensor({33, 96}, at::kBFloat16, 1), w = random_tensor({96}, at::kBFloat16, 2);
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor hat = x32 * (x32 * x32).mean(-1, true).add(1e-6).rsqrt();
  const at::Tensor expected = w * hat.to(at::kBFloat16);
  const double mismatch = rms_norm(x, w, 1e-6).y.ne(expected).to(at::kDouble).mean().item<double>();
  EXPECT_LT(mismatch, 0.005);  // a float32 rstd that differs in its last bit may move a rounding
}

TEST(Norm, ReadsStridedHeadsOfAFusedProjection) {
  const at::Tensor qkv = random_tensor({9, 3 * 64}, at::kFloat, 1), w = random_tensor({16}, at::kFloat, 2);
  const at::Tensor q = qkv.narrow(1, 64, 64).view({9, 4, 16});
  const RmsNormResult view = rms_norm(q, w, 1e-6), dense = rms_norm(q.contiguous(), w, 1e-6);
  EXPECT_TRUE(same_bits(view.y, dense.y));
  const at::Tensor dy = random_tensor({9, 4, 16}, at::kFloat, 3);
  EXPECT_TRUE(same_bits(rms_norm_backward(dy, q, w, view.rstd).dx,
                        rms_norm_backward(dy, q.contiguous(), w, view.rstd).dx));
}

TEST(Norm, OtherDtypesTakeTheComposition) {
  const at::Tensor x = random_tensor({6, 20}, at::kDouble, 1), w = random_tensor({20}, at::kDouble, 2);
  const RmsNormResult r = rms_norm(x, w, 1e-6);
  expect_close(r.y, x * (x * x).mean(-1, true).add(1e-6).rsqrt() * w, 1e-6);
  const RmsNormGrads g = rms_norm_backward(at::ones_like(x), x, w, r.rstd);
  EXPECT_EQ(g.dx.scalar_type(), at::kDouble);
}

TEST(Norm, WeightGradientBitsDoNotDependOnThreads) {
  const at::Tensor x = random_tensor({3000, 257}, at::kFloat, 1), w = random_tensor({257}, at::kFloat, 2);
  const at::Tensor dy = random_tensor({3000, 257}, at::kFloat, 3), rstd = rms_norm(x, w, 1e-6).rstd;
  at::Tensor one, four;
  {
    ThreadsGuard threads(1);
    one = rms_norm_backward(dy, x, w, rstd).dweight;
  }
  {
    ThreadsGuard threads(4);
    four = rms_norm_backward(dy, x, w, rstd).dweight;
  }
  EXPECT_TRUE(same_bits(one, four));
}

TEST(Norm, NanStaysInItsRow) {
  at::Tensor x = random_tensor({3, 40}, at::kFloat, 1);
  x[1][7] = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor y = rms_norm(x, at::ones({40}), 1e-6).y;
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_FALSE(y[0].isnan().any().item<bool>() || y[2].isnan().any().item<bool>());
}

TEST(Norm, RefusesSizesThatDoNotFit) {
  EXPECT_THROW(rms_norm(at::ones({2, 3}), at::ones({4}), 1e-6), Error);
  EXPECT_THROW(add_rms_norm(at::ones({2, 3}), at::ones({3, 3}), at::ones({3}), 1e-6), Error);
}

}  // namespace
}  // namespace tessera::kernels
