// What experts of limited capacity take, and the weights that remain.
#include "kernels/capacity.h"

#include <gtest/gtest.h>

#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>

#include <limits>
#include <vector>

#include "core/error.h"

namespace tessera::kernels {
namespace {

at::Tensor floats(std::vector<float> values, int64_t k) {
  return at::tensor(values, at::dtype(at::kFloat)).view({-1, k});
}
at::Tensor longs(std::vector<int64_t> values, int64_t k) {
  return at::tensor(values, at::dtype(at::kLong)).view({-1, k});
}

TEST(Capacity, IsTheRoundedUpMultipleOfTheEvenShare) {
  EXPECT_EQ(expert_capacity(1.0, 2, 16, 8), 4);
  EXPECT_EQ(expert_capacity(1.25, 2, 16, 8), 5);
  EXPECT_EQ(expert_capacity(1.0, 2, 17, 8), 5);
  EXPECT_EQ(expert_capacity(1e-3, 2, 16, 8), 1);
  EXPECT_EQ(expert_capacity(1e3, 2, 16, 8), 16);
  EXPECT_EQ(expert_capacity(1.0, 2, 0, 8), 0);
}

TEST(Capacity, DropsTheSmallestWeightsAndOfEqualOnesTheLater) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor experts = longs({0, 1, 0, 2, 0, 1, -1, 1}, 2);
  const at::Tensor weights = floats({.2F, .8F, .3F, .7F, .2F, .5F, .9F, nan}, 2);
  EXPECT_TRUE(at::equal(within_capacity(experts, weights, 3, 4), experts));
  EXPECT_TRUE(at::equal(within_capacity(experts, weights, 3, 2), longs({0, 1, 0, 2, -1, 1, -1, -1}, 2)));
  EXPECT_TRUE(at::equal(within_capacity(experts, weights, 3, 1), longs({-1, 1, 0, 2, -1, -1, -1, -1}, 2)));
  EXPECT_TRUE(at::equal(within_capacity(experts, weights, 3, 0), longs({-1, -1, -1, -1, -1, -1, -1, -1}, 2)));
  EXPECT_THROW(within_capacity(longs({3}, 1), floats({1}, 1), 3, 1), Error);
  EXPECT_THROW(within_capacity(experts, floats({1}, 1), 3, 1), Error);
}

TEST(Capacity, WhatRemainsOfATokenHasTheSumOfAll) {
  const at::Tensor weights = floats({.2F, .3F, .5F, .1F, .6F, .3F, .4F, .1F, .2F}, 3);
  const at::Tensor kept = longs({4, -1, 2, 0, 1, 2, -1, -1, -1}, 3);
  const at::Tensor scaled = rescale_kept(weights, kept);
  EXPECT_FLOAT_EQ(scaled[0][0].item<float>(), .2F / .7F);
  EXPECT_EQ(scaled[0][1].item<float>(), 0);
  EXPECT_FLOAT_EQ(scaled[0][2].item<float>(), .5F / .7F);
  EXPECT_TRUE(at::equal(scaled[1], weights[1]));  // nothing dropped: not a bit changes
  EXPECT_EQ(scaled[2].abs().sum().item<float>(), 0);
}

TEST(Capacity, TheGradientIsThatOfTheRescaledWeights) {
  const at::Tensor weights = at::rand({40, 4}, at::dtype(at::kFloat)).add_(0.05);
  const at::Tensor upper = at::rand({40, 4}, at::dtype(at::kFloat)).sub_(0.5);
  const at::Tensor kept = at::rand({40, 4}, at::dtype(at::kFloat)).mul_(3).to(at::kLong).sub_(1);
  at::Tensor noisy = upper.clone();
  noisy.masked_fill_(kept.lt(0), std::numeric_limits<float>::quiet_NaN());  // must not be read
  const at::Tensor gradient = rescale_kept_backward(noisy, weights, kept);
  const double h = 1e-2;
  for (int64_t i = 0; i < 4; ++i) {
    at::Tensor up = weights.clone(), down = weights.clone();
    up.select(1, i).add_(h);
    down.select(1, i).sub_(h);
    const auto value = [&](const at::Tensor& w) {
      return rescale_kept(w, kept).to(at::kDouble).mul(upper.to(at::kDouble)).sum(1);
    };
    const at::Tensor numeric = value(up).sub(value(down)).div(2 * h);
    EXPECT_LT(numeric.sub(gradient.select(1, i)).abs().max().item<double>(), 2e-2) << "choice " << i;
  }
}

}  // namespace
}  // namespace tessera::kernels
