// Cross-entropy kernels against the CPU's loops: whole, split by vocabulary, and the rows that have a label.
#include "kernels/cross_entropy.h"

#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "gpu_support.h"

namespace tessera::kernels {
namespace {

class CrossEntropyOn : public OnPlace {
 protected:
  static at::Tensor some_ignored(int64_t rows, int64_t vocab) {
    at::Tensor labels = random_integers(vocab, {rows}, 7);
    for (int64_t i = 0; i < rows; i += 3) labels[i] = kIgnoreIndex;
    return labels;
  }
};

TEST_P(CrossEntropyOn, LossAndGradientMatchTheCpu) {
  const double scale = 0.25;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t v : {1, 5, 1003, 4096, 32003}) {
      SCOPED_TRACE(cat(dtype, " ", v));
      const at::Tensor logits = random_tensor({7, v}, dtype, 1, 4.0), labels = some_ignored(7, v);
      at::Tensor expected = logits.clone();
      const double want = cross_entropy(expected, labels, &scale);
      EXPECT_NEAR(here([&] { return cross_entropy(put(logits), put(labels), nullptr); }), want,
                  1e-5 * (1 + want));
      const at::Tensor there = put(logits);
      const at::Tensor sum = put(at::full({1}, 2.0, at::kDouble));
      here([&] { add_cross_entropy(there, put(labels), &scale, sum); });
      EXPECT_NEAR(back(sum).item<double>(), 2 + want, 1e-5 * (1 + want));
      expect_close(back(there), wide(expected), 2 * tolerance(dtype), 1e-6);
      EXPECT_TRUE(back(there)[0].eq(0).all().item<bool>());
    }
  }
}

TEST_P(CrossEntropyOn, ReadsRowsOfAWiderMatrix) {
  const at::Tensor wide_logits = random_tensor({6, 1003}, at::kFloat, 1), labels = some_ignored(6, 1000);
  at::Tensor expected = wide_logits.clone();
  const double scale = 1;
  const double want = cross_entropy(expected.narrow(1, 1, 1000), labels, &scale);
  const at::Tensor there = put(wide_logits);
  EXPECT_NEAR(here([&] { return cross_entropy(there.narrow(1, 1, 1000), put(labels), &scale); }), want, 1e-4);
  expect_close(back(there), wide(expected), 4e-6);
}

TEST_P(CrossEntropyOn, MaskedAndLargeLogitsAreStable) {
  at::Tensor logits = at::full({2, 3000}, -std::numeric_limits<double>::infinity(), at::kFloat);
  logits[0][5] = 3e4;
  logits[0][2999] = 3e4;
  logits[1][0] = -3e38;
  at::Tensor labels = at::zeros({2}, at::kLong);
  labels[0] = 5;
  const double loss = here([&] { return cross_entropy(put(logits), put(labels), nullptr); });
  EXPECT_NEAR(loss, std::log(2.0), 1e-6);
}

TEST_P(CrossEntropyOn, ALabelOutsideTheVocabularyGivesNanAndTouchesNothingElse) {
  at::Tensor labels = at::zeros({3}, at::kLong);
  labels[1] = 10;
  const double scale = 1;
  const at::Tensor there = put(at::ones({3, 10})), sum = put(at::zeros({1}, at::kDouble));
  here([&] { add_cross_entropy(there, put(labels), &scale, sum); });
  EXPECT_TRUE(std::isnan(back(sum).item<double>()));
  EXPECT_TRUE(back(there)[1].isnan().all().item<bool>());
  EXPECT_FALSE(back(there)[0].isnan().any().item<bool>() || back(there)[2].isnan().any().item<bool>());
}

TEST_P(CrossEntropyOn, PiecesOfASplitVocabularyGiveTheWhole) {
  const double scale = 0.5;
  const at::Tensor logits = random_tensor({9, 101}, at::kFloat, 1, 3.0), labels = some_ignored(9, 101);
  at::Tensor expected = logits.clone();
  const double want = cross_entropy(expected, labels, &scale);
  const at::Tensor low = put(logits.narrow(1, 0, 64).contiguous()),
                   high = put(logits.narrow(1, 64, 37).contiguous());
  const at::Tensor there = put(labels);
  const CrossEntropyStats a = here([&] { return cross_entropy_stats(low, there, 0); });
  const CrossEntropyStats b = here([&] { return cross_entropy_stats(high, there, 64); });
  const at::Tensor max = at::maximum(a.max, b.max);
  const at::Tensor sum = a.sum * (a.max - max).exp() + b.sum * (b.max - max).exp();
  const at::Tensor lse = at::log(sum) + max;
  const at::Tensor loss = back(lse - a.target - b.target).masked_fill(labels.eq(kIgnoreIndex), 0);
  EXPECT_NEAR(loss.sum().item<double>(), want, 1e-4);
  here([&] { cross_entropy_grad(low, there, 0, lse, scale); });
  here([&] { cross_entropy_grad(high, there, 64, lse, scale); });
  expect_close(back(low), wide(expected.narrow(1, 0, 64)), 4e-6, 1e-3);
  expect_close(back(high), wide(expected.narrow(1, 64, 37)), 4e-6, 1e-3);
}

TEST_P(CrossEntropyOn, GradientsPassASoftCap) {
  const int64_t rows = 5, v = 1003;
  const float cap = 3, scale = 0.5f;
  const at::Tensor raw = random_tensor({rows, v}, at::kFloat, 1, 4.0), labels = some_ignored(rows, v);
  const at::Tensor there = put(raw), y = put(labels), loss = put(at::zeros({rows}, at::kDouble));
  ASSERT_EQ(table().soft_cap(CudaType::f32, there.data_ptr(), cap, raw.numel(), stream()), 0);
  const at::Tensor capped = wide(raw).div(cap).tanh_();
  expect_close(back(there), capped * static_cast<double>(cap), 4e-6);
  const at::Tensor again = there.clone();
  ASSERT_EQ(table().cross_entropy(CudaType::f32, there.data_ptr(), v, y.data_ptr<int64_t>(), rows, v,
                                  kIgnoreIndex, true, scale, cap, loss.data_ptr<double>(), stream()),
            0);
  at::Tensor expected = (capped * static_cast<double>(cap)).softmax(1);
  for (int64_t i = 0; i < rows; ++i) {
    const auto label = labels[i].item<int64_t>();
    label == kIgnoreIndex ? expected[i].zero_() : expected[i][label].sub_(1);
  }
  expected = expected * static_cast<double>(scale) * (capped.square().neg() + 1);
  expect_close(back(there), expected, 1e-5, 1e-3);
  const at::Tensor lse = put(at::logsumexp(capped * static_cast<double>(cap), 1).to(at::kFloat));
  ASSERT_EQ(table().cross_entropy_grad(CudaType::f32, again.data_ptr(), v, y.data_ptr<int64_t>(), rows, v, 0,
                                       kIgnoreIndex, lse.data_ptr<float>(), scale, cap, stream()),
            0);
  expect_close(back(again), expected, 1e-5, 1e-3);
}

TEST_P(CrossEntropyOn, LabelledRowsAreThoseOfTheCpu) {
  for (int64_t n : {1, 31, 1024, 5000}) {
    at::Tensor labels = random_integers(100, {n}, 3);
    labels.masked_fill_(labels.lt(40), kIgnoreIndex);
    const int64_t count = labels.ne(kIgnoreIndex).sum().item<int64_t>();
    const LabelledRows expected = labelled_rows(labels, count);
    const LabelledRows got = here([&] { return labelled_rows(put(labels), count); });
    EXPECT_TRUE(same_bits(back(got.rows), expected.rows));
    EXPECT_TRUE(same_bits(back(got.labels), expected.labels));
    const LabelledRows more = here([&] { return labelled_rows(put(labels), count + 2); });
    EXPECT_EQ(back(more.rows)[count + 1].item<int64_t>(), -1);
    EXPECT_EQ(back(more.labels)[count].item<int64_t>(), kIgnoreIndex);
  }
}

TESSERA_ON_PLACES(CrossEntropyOn);

}  // namespace
}  // namespace tessera::kernels
