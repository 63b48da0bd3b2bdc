// Cross-entropy against float64 log-softmax, whole and split over a vocabulary.
#include "kernels/cross_entropy.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "data/packed_batch.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

static_assert(kIgnoreIndex == kIgnoredLabel);

struct Expected {
  double loss;
  at::Tensor grad;
};

Expected reference(const at::Tensor& logits, const at::Tensor& labels, double scale) {
  const at::Tensor log_p = at::log_softmax(wide(logits), 1), counted = labels.ne(kIgnoreIndex);
  const at::Tensor onehot = at::one_hot(labels.clamp_min(0), logits.size(1)).to(at::kDouble);
  const at::Tensor mask = counted.to(at::kDouble).unsqueeze(1);
  return {-(log_p * onehot * mask).sum().item<double>(), (log_p.exp() - onehot) * mask * scale};
}

TEST(CrossEntropy, MatchesFloat64LossAndGradient) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      for (auto [n, v] :
           {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {3, 64}, {9, 2048}, {4, 2049}, {6, 5003}}) {
        SCOPED_TRACE(cat(dtype, " ", n, " x ", v));
        at::Tensor logits = random_tensor({n, v}, dtype, 1, 4.0);
        at::Tensor labels = random_integers(v, {n}, 2);
        if (n > 2) labels[1] = kIgnoreIndex;
        const double scale = 0.37;
        const Expected expected = reference(logits, labels, scale);
        const double loss = cross_entropy(logits, labels, nullptr);
        EXPECT_NEAR(loss, expected.loss, 2e-6 * (1 + std::abs(expected.loss)));
        EXPECT_EQ(cross_entropy(logits, labels, &scale), loss);
        expect_close(logits, expected.grad, tolerance(dtype));
        if (n > 2) EXPECT_EQ(logits[1].abs().max().item<double>(), 0);
      }
    }
  });
}

TEST(CrossEntropy, ASoftCapIsDifferentiatedThrough) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (auto [n, v] : {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {3, 64}, {4, 2049}, {6, 5003}}) {
        SCOPED_TRACE(cat(dtype, " ", n, " x ", v));
        const double cap = 3, scale = 0.37;
        at::Tensor logits = random_tensor({n, v}, dtype, 1, 4.0);
        at::Tensor labels = random_integers(v, {n}, 2);
        if (n > 2) labels[1] = kIgnoreIndex;
        const at::Tensor bent = (wide(logits) / cap).tanh();
        soft_cap(logits, cap);
        expect_close(logits, bent * cap, dtype == at::kHalf ? 1e-3 : tolerance(dtype));
        // From here on the rounded values count: the derivative at the cap is all rounding otherwise.
        const at::Tensor kept = wide(logits) / cap;
        const Expected expected = reference(logits, labels, scale);
        const at::Tensor grad = expected.grad * (kept * kept * -1 + 1);
        at::Tensor split = logits.clone();
        EXPECT_NEAR(cross_entropy(logits, labels, &scale, cap), expected.loss, 2e-6 * (1 + expected.loss));
        expect_close(logits, grad, dtype == at::kHalf ? 1e-3 : tolerance(dtype));
        const CrossEntropyStats stats = cross_entropy_stats(split, labels, 0);
        cross_entropy_grad(split, labels, 0, stats.sum.log() + stats.max, scale, cap);
        expect_close(split, grad, dtype == at::kHalf ? 2e-3 : tolerance(dtype, 2));
      }
    }
  });
  at::Tensor logits = at::full({1, 2}, 1e30);
  soft_cap(logits, 0);
  EXPECT_EQ(logits[0][0].item<float>(), 1e30f);
  EXPECT_THROW(soft_cap(logits, -1), Error);
}

TEST(CrossEntropy, IsStableForLargeLogits) {
  for_each_isa([] {
    at::Tensor logits = random_tensor({3, 4100}, at::kFloat, 1, 1.0) + 1e4;
    logits[0][4099] = 2e4;
    logits[1][0] = -2e4;
    const at::Tensor labels = at::zeros({3}, at::kLong);
    const double scale = 1;
    const Expected expected = reference(logits, labels, scale);
    EXPECT_NEAR(cross_entropy(logits, labels, &scale), expected.loss, 1e-6 * expected.loss);
    expect_close(logits, expected.grad, 1e-5);
  });
}

TEST(CrossEntropy, MaskedVocabularyGetsNoProbability) {
  for_each_isa([] {
    const double inf = std::numeric_limits<double>::infinity();
    at::Tensor logits = random_tensor({2, 6000}, at::kFloat, 1);
    logits.narrow(1, 1000, 4500).fill_(-inf);  // whole blocks and parts of blocks
    const at::Tensor labels = at::zeros({2}, at::kLong);
    const double scale = 1;
    const at::Tensor seen = at::cat({logits.narrow(1, 0, 1000), logits.narrow(1, 5500, 500)}, 1);
    EXPECT_NEAR(cross_entropy(logits, labels, &scale), reference(seen, labels, scale).loss, 1e-5);
    EXPECT_EQ(logits.narrow(1, 1000, 4500).abs().max().item<double>(), 0);
    EXPECT_FALSE(logits.isnan().any().item<bool>());
  });
}

TEST(CrossEntropy, NanAndInfinityReachTheLoss) {
  for_each_isa([] {
    for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      at::Tensor logits = random_tensor({3, 5000}, at::kBFloat16, 1);
      logits[1][3333] = bad;
      const double scale = 1;
      EXPECT_TRUE(std::isnan(cross_entropy(logits, at::zeros({3}, at::kLong), &scale)));
      EXPECT_FALSE(logits[0].isnan().any().item<bool>());
    }
  });
}

TEST(CrossEntropy, PiecesOfASplitVocabularyGiveTheWhole) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      const int64_t n = 11, v = 3000, split = 1700;
      const at::Tensor logits = random_tensor({n, v}, dtype, 1, 3.0);
      at::Tensor labels = random_integers(v, {n}, 2);
      labels[4] = kIgnoreIndex;
      const double scale = 0.5;
      const Expected expected = reference(logits, labels, scale);

      const at::Tensor left = logits.narrow(1, 0, split).contiguous();
      const at::Tensor right = logits.narrow(1, split, v - split);  // rows with a stride
      const CrossEntropyStats a = cross_entropy_stats(left, labels, 0),
                              b = cross_entropy_stats(right, labels, split);
      const at::Tensor max = at::maximum(a.max, b.max);
      const at::Tensor sum = a.sum * (a.max - max).exp() + b.sum * (b.max - max).exp();
      const at::Tensor lse = at::log(sum) + max;
      const at::Tensor loss = (lse - a.target - b.target).masked_fill(labels.eq(kIgnoreIndex), 0);
      EXPECT_NEAR(loss.sum().item<double>(), expected.loss, 1e-5 * expected.loss);
      cross_entropy_grad(left, labels, 0, lse, scale);
      cross_entropy_grad(right, labels, split, lse, scale);
      expect_close(at::cat({left, right}, 1), expected.grad, dtype == at::kBFloat16 ? 0x1p-8 : 1e-5);
    }
  });
}

TEST(CrossEntropy, BitsDoNotDependOnThreads) {
  const at::Tensor logits = random_tensor({257, 3000}, at::kBFloat16, 1),
                   labels = random_integers(3000, {257}, 2);
  const double scale = 0.1;
  const at::Tensor one = logits.clone(), four = logits.clone();
  double loss_one, loss_four;
  {
    ThreadsGuard threads(1);
    loss_one = cross_entropy(one, labels, &scale);
  }
  {
    ThreadsGuard threads(4);
    loss_four = cross_entropy(four, labels, &scale);
  }
  EXPECT_EQ(loss_one, loss_four);
  EXPECT_TRUE(same_bits(one, four));
}

TEST(CrossEntropy, NoRowsGiveZero) {
  const double scale = 1;
  EXPECT_EQ(cross_entropy(at::zeros({0, 5}), at::zeros({0}, at::kLong), &scale), 0);
}

TEST(CrossEntropy, RefusesLabelsOutsideTheVocabulary) {
  for (int64_t bad : {int64_t{5}, int64_t{-1}, int64_t{-101}}) {
    at::Tensor labels = at::zeros({3}, at::kLong);
    labels[2] = bad;
    try {
      cross_entropy(at::zeros({3, 5}), labels, nullptr);
      FAIL() << "label " << bad << " was accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(cat("label ", bad, " of row 2")), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
