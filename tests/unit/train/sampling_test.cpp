// Choosing tokens: greedy, cut to top-k and top-p, and drawn with the right frequencies.
#include "train/sampling.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera {
namespace {

at::Tensor logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return at::tensor(logits);
}

std::vector<double> frequencies(const at::Tensor& logits, GenerateOptions options, int draws = 20000) {
  std::vector<double> counts(logits.numel(), 0);
  for (int i = 0; i < draws; ++i) counts[choose_token(logits, options, i)] += 1.0 / draws;
  return counts;
}

GenerateOptions sampled(double temperature, double top_p = 1, int64_t top_k = 0) {
  GenerateOptions options;
  options.temperature = temperature;
  options.top_p = top_p;
  options.top_k = top_k;
  options.seed = 4;
  return options;
}

TEST(Sampling, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(choose_token(logits_of({0.1, 0.4, 0.4, 0.1}), GenerateOptions{}, 0), 1);
}

TEST(Sampling, DrawsWithTheProbabilitiesOfTheSoftmax) {
  const std::vector<double> p = {0.5, 0.05, 0.3, 0.15};
  const std::vector<double> seen = frequencies(logits_of(p), sampled(1.0));
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(seen[i], p[i], 0.015);
}

TEST(Sampling, TemperatureSharpens) {
  const std::vector<double> seen = frequencies(logits_of({0.6, 0.4}), sampled(0.5));
  EXPECT_NEAR(seen[0], 0.36 / (0.36 + 0.16), 0.015);
}

TEST(Sampling, TopKAndTopPCutAndRenormalise) {
  const at::Tensor logits = logits_of({0.5, 0.05, 0.3, 0.15});
  EXPECT_EQ(frequencies(logits, sampled(1.0, 1.0, 2))[3], 0.0);
  EXPECT_NEAR(frequencies(logits, sampled(1.0, 1.0, 2))[0], 0.5 / 0.8, 0.015);
  EXPECT_EQ(frequencies(logits, sampled(1.0, 0.7))[3], 0.0);   // 0.5 + 0.3 reach 0.7
  EXPECT_GT(frequencies(logits, sampled(1.0, 0.85))[3], 0.0);  // 0.8 do not reach 0.85
  EXPECT_NEAR(frequencies(logits, sampled(1.0, 0.01))[0], 1.0, 1e-9);
}

TEST(Sampling, SeedAndPositionDecide) {
  const at::Tensor logits = logits_of(std::vector<double>(64, 1.0 / 64));
  const GenerateOptions options = sampled(1.0);
  EXPECT_EQ(choose_token(logits, options, 3), choose_token(logits, options, 3));
  int different = 0;
  for (int i = 0; i < 20; ++i)
    different += choose_token(logits, options, i) != choose_token(logits, options, i + 1);
  EXPECT_GT(different, 10);
}

}  // namespace
}  // namespace tessera
