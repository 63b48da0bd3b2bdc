// The products of a linear layer against float64.
#include "kernels/linear.h"

#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

template <class Body>
void for_shapes(const Body& body) {
  // The last two are cut between threads, by rows and by columns of their results.
  for (int threads : {1, 4}) {
    const ThreadsGuard guard(threads);
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (auto [t, in, out] : {std::array<int64_t, 3>{1, 1, 1},
                                {1, 8, 3},
                                {7, 5, 9},
                                {64, 33, 17},
                                {130, 96, 160},
                                {210, 150, 390},
                                {390, 200, 130}}) {
        SCOPED_TRACE(cat(dtype, " T=", t, " in=", in, " out=", out, " threads=", threads));
        body(dtype, t, in, out);
      }
    }
  }
}

TEST(Linear, MatchesFloat64) {
  for_shapes([](at::ScalarType dtype, int64_t t, int64_t in, int64_t out) {
    const at::Tensor x = random_tensor({t, in}, dtype, 1), w = random_tensor({out, in}, dtype, 2);
    const at::Tensor b = random_tensor({out}, dtype, 3), dy = random_tensor({t, out}, dtype, 4);
    const double tol = dtype == at::kFloat ? 1e-5 : 0x1p-8;
    expect_close(kernels::linear(x, w), at::mm(wide(x), wide(w).t()), tol);
    expect_close(kernels::linear(x, w, b), at::mm(wide(x), wide(w).t()) + wide(b), tol);
    expect_close(linear_grad_input(dy, w), at::mm(wide(dy), wide(w)), tol);
    expect_close(linear_grad_bias(dy), wide(dy).sum(0), 2e-6);
  });
}

TEST(Linear, LeavesItsInputsAlone) {
  for_shapes([](at::ScalarType dtype, int64_t t, int64_t in, int64_t out) {
    const at::Tensor x = random_tensor({t, in}, dtype, 1), w = random_tensor({out, in}, dtype, 2);
    const at::Tensor b = random_tensor({out}, dtype, 3), dy = random_tensor({t, out}, dtype, 4);
    const at::Tensor before[] = {x.clone(), w.clone(), b.clone(), dy.clone()};
    kernels::linear(x, w, b);
    linear_grad_input(dy, w);
    linear_grad_bias(dy);
    EXPECT_TRUE(x.equal(before[0]) && w.equal(before[1]) && b.equal(before[2]) && dy.equal(before[3]));
  });
}

TEST(Linear, WeightGradientOverwritesOrAdds) {
  for_shapes([](at::ScalarType dtype, int64_t t, int64_t in, int64_t out) {
    for (at::ScalarType target_dtype : {dtype, at::kFloat}) {
      const at::Tensor x = random_tensor({t, in}, dtype, 1), dy = random_tensor({t, out}, dtype, 2);
      const at::Tensor product = at::mm(wide(dy).t(), wide(x));
      const double tol = dtype == at::kFloat ? 1e-5 : 0x1p-8;
      const at::Tensor target = random_tensor({out, in}, target_dtype, 3), before = wide(target);
      linear_grad_weight(x, dy, target, /*accumulate=*/true);
      expect_close(target, before + product, 2 * tol);
      linear_grad_weight(x, dy, target, /*accumulate=*/false);
      expect_close(target, product, tol);
    }
  });
}

TEST(Linear, OverwritingDoesNotReadTheTarget) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = random_tensor({5, 4}, dtype, 1), dy = random_tensor({5, 3}, dtype, 2);
    at::Tensor target = at::ones({3, 4}, dtype) * std::numeric_limits<double>::quiet_NaN();
    linear_grad_weight(x, dy, target, false);
    EXPECT_FALSE(target.isnan().any().item<bool>());
  }
}

TEST(Linear, TakesViewsOfFusedTensors) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const double tol = dtype == at::kFloat ? 1e-5 : 0x1p-8;
    const at::Tensor fused = random_tensor({20, 48}, dtype, 1), w = random_tensor({24, 16}, dtype, 2);
    const at::Tensor x = fused.narrow(1, 16, 16), dy = fused.narrow(1, 24, 24);
    expect_close(kernels::linear(x, w), at::mm(wide(x), wide(w).t()), tol);
    expect_close(linear_grad_input(dy, w), at::mm(wide(dy), wide(w)), tol);
    const at::Tensor target = at::ones({24, 16}, dtype);
    linear_grad_weight(x, dy, target, false);
    expect_close(target, at::mm(wide(dy).t(), wide(x)), tol);
  }
}

TEST(Linear, NoTokensGiveZeroGradients) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::ones({0, 4}, dtype), dy = at::ones({0, 3}, dtype),
                     target = at::ones({3, 4}, dtype);
    EXPECT_EQ(kernels::linear(x, at::ones({3, 4}, dtype)).size(0), 0);
    linear_grad_weight(x, dy, target, true);
    EXPECT_TRUE(target.eq(1).all().item<bool>());
    linear_grad_weight(x, dy, target, false);
    EXPECT_TRUE(target.eq(0).all().item<bool>());
  }
}

TEST(Linear, RefusesSizesThatDoNotFit) {
  EXPECT_THROW(kernels::linear(at::ones({2, 3}), at::ones({4, 5})), Error);
  EXPECT_THROW(linear_grad_input(at::ones({2, 3}), at::ones({4, 5})), Error);
  EXPECT_THROW(linear_grad_weight(at::ones({2, 3}), at::ones({2, 4}), at::ones({3, 4}), false), Error);
}

}  // namespace
}  // namespace tessera::kernels
