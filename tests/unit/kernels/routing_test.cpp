// Expert choice against a plain double-precision computation, its gradient against differences, and the rows
// sorted by expert.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/error.h"
#include "kernels/expert_rows.h"
#include "kernels/routing.h"

namespace tessera::kernels {
namespace {

using Scoring = RoutingOptions::Scoring;

at::Tensor random_matrix(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  at::Tensor t = at::empty({rows, columns});
  for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data_ptr<float>()[i] = normal(random);
  return t;
}

// Weights of given experts, straight from the definitions.
std::vector<double> plain_weights(const std::vector<double>& logits, const int64_t* chosen,
                                  const RoutingOptions& options) {
  std::vector<double> scores(logits.size());
  std::vector<double> weights;
  if (options.scoring == Scoring::sigmoid) {
    for (size_t e = 0; e < logits.size(); ++e) scores[e] = 1 / (1 + std::exp(-logits[e]));
  } else {
    double sum = 0;
    for (size_t e = 0; e < logits.size(); ++e) sum += std::exp(logits[e]);
    for (size_t e = 0; e < logits.size(); ++e) scores[e] = std::exp(logits[e]) / sum;
  }
  double sum = 0;
  for (int64_t j = 0; j < options.top_k; ++j) sum += scores[chosen[j]];
  const bool divide = options.normalize || options.scoring == Scoring::topk_softmax;
  for (int64_t j = 0; j < options.top_k; ++j) {
    weights.push_back(scores[chosen[j]] / (divide ? sum + options.epsilon : 1.0) * options.scale);
  }
  return weights;
}

std::vector<RoutingOptions> all_options() {
  std::vector<RoutingOptions> list;
  for (const Scoring scoring : {Scoring::softmax, Scoring::topk_softmax, Scoring::sigmoid}) {
    for (const bool normalize : {false, true}) {
      RoutingOptions options;
      options.scoring = scoring;
      options.top_k = 3;
      options.normalize = normalize;
      options.epsilon = 1e-3;
      options.scale = 2.5;
      if (scoring == Scoring::topk_softmax) options.epsilon = 0;
      list.push_back(options);
    }
  }
  return list;
}

std::vector<double> row_of(const at::Tensor& t, int64_t row) {
  const float* data = t.const_data_ptr<float>() + row * t.size(1);
  return {data, data + t.size(1)};
}

TEST(Routing, WeightsAreTheDefinitions) {
  const at::Tensor logits = random_matrix(50, 8, 1);
  for (const RoutingOptions& options : all_options()) {
    const Routing routing = route(logits, options);
    for (int64_t t = 0; t < 50; ++t) {
      const int64_t* chosen = routing.experts.const_data_ptr<int64_t>() + t * options.top_k;
      const std::vector<double> expected = plain_weights(row_of(logits, t), chosen, options);
      for (int64_t j = 0; j < options.top_k; ++j) {
        EXPECT_NEAR(routing.weights[t][j].item().toDouble(), expected[j], 1e-6);
      }
    }
  }
}

TEST(Routing, ChoosesTheBestInOrderAndTheLowerIndexOfEquals) {
  const at::Tensor logits = at::tensor({1.0F, 3.0F, 3.0F, 2.0F, 3.0F}).view({1, 5});
  RoutingOptions options;
  options.top_k = 4;
  const Routing routing = route(logits, options);
  const int64_t* chosen = routing.experts.const_data_ptr<int64_t>();
  EXPECT_EQ(std::vector<int64_t>(chosen, chosen + 4), (std::vector<int64_t>{1, 2, 4, 3}));
}

TEST(Routing, TheSelectionBiasChangesTheChoiceButNotTheWeights) {
  const at::Tensor logits = at::tensor({2.0F, 1.0F, 0.0F}).view({1, 3});
  RoutingOptions options;
  options.scoring = Scoring::sigmoid;
  const Routing routing = route(logits, options, at::tensor({0.0F, 0.0F, 5.0F}));
  EXPECT_EQ(routing.experts.item().toLong(), 2);
  EXPECT_NEAR(routing.weights.item().toDouble(), 0.5, 1e-7);
}

TEST(Routing, GroupLimitsKeepTheChoiceInTheBestGroups) {
  // Group sums of the two best: 5 + 0, 3 + 3, 4 + 0.5: groups 1 and 0.
  const at::Tensor logits = at::tensor({5.0F, 0.0F, 3.0F, 3.0F, 4.0F, 0.5F}).view({1, 6});
  RoutingOptions options;
  options.scoring = Scoring::topk_softmax;
  options.top_k = 3;
  options.groups = 3;
  options.top_groups = 2;
  const Routing routing = route(logits, options);
  const int64_t* chosen = routing.experts.const_data_ptr<int64_t>();
  EXPECT_EQ(std::vector<int64_t>(chosen, chosen + 3), (std::vector<int64_t>{0, 2, 3}));
}

TEST(Routing, ANotANumberIsNeverPreferred) {
  const float nan = std::nanf("");
  RoutingOptions options;
  options.scoring = Scoring::sigmoid;
  options.top_k = 2;
  const Routing routing = route(at::tensor({nan, 0.5F, 1.0F}).view({1, 3}), options);
  EXPECT_EQ(routing.experts[0][0].item().toLong(), 2);
  EXPECT_EQ(routing.experts[0][1].item().toLong(), 1);
}

TEST(Routing, BackwardIsTheDifferenceQuotient) {
  const at::Tensor logits = random_matrix(6, 8, 2);
  const at::Tensor dweights = random_matrix(6, 3, 3);
  const at::Tensor dscores = random_matrix(6, 8, 4);
  for (const RoutingOptions& options : all_options()) {
    const Routing routing = route(logits, options);
    for (const bool with_scores : {false, true}) {
      const at::Tensor dlogits =
          route_backward(dweights, routing, options, with_scores ? dscores : at::Tensor());
      for (int64_t t = 0; t < 6; ++t) {
        const int64_t* chosen = routing.experts.const_data_ptr<int64_t>() + t * options.top_k;
        RoutingOptions all = options;  // the scores themselves, as weights of all experts
        if (all.scoring == Scoring::topk_softmax) all.scoring = Scoring::softmax;
        all.top_k = 8;
        all.normalize = false;
        all.scale = 1;
        std::vector<int64_t> everyone(8);
        std::iota(everyone.begin(), everyone.end(), 0);
        const auto value = [&](const std::vector<double>& row) {
          double sum = 0;
          const std::vector<double> weights = plain_weights(row, chosen, options);
          for (int64_t j = 0; j < options.top_k; ++j) sum += weights[j] * dweights[t][j].item().toDouble();
          if (!with_scores) return sum;
          const std::vector<double> scores = plain_weights(row, everyone.data(), all);
          for (int64_t e = 0; e < 8; ++e) sum += scores[e] * dscores[t][e].item().toDouble();
          return sum;
        };
        for (int64_t e = 0; e < 8; ++e) {
          std::vector<double> up = row_of(logits, t);
          std::vector<double> down = up;
          up[e] += 1e-5;
          down[e] -= 1e-5;
          EXPECT_NEAR(dlogits[t][e].item().toDouble(), (value(up) - value(down)) / 2e-5, 3e-6);
        }
      }
    }
  }
}

TEST(Routing, RefusesOptionsThatDoNotFit) {
  const at::Tensor logits = random_matrix(1, 6, 1);
  const auto message = [&](const RoutingOptions& options) {
    try {
      route(logits, options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  RoutingOptions options;
  options.top_k = 7;
  EXPECT_EQ(message(options), "top_k=7 is not within 1..6 experts");
  options = {};
  options.groups = 4;
  EXPECT_EQ(message(options), "groups=4 do not divide 6 experts");
  options.groups = 3;
  options.top_groups = 1;
  options.top_k = 3;
  EXPECT_EQ(message(options), "top_k=3 experts are not in 1 groups of 2");
}

at::Tensor choices_of(const std::vector<int64_t>& values, int64_t k) {
  return at::tensor(values, at::kLong).view({-1, k});
}

std::vector<int64_t> longs(const at::Tensor& t) {
  return {t.const_data_ptr<int64_t>(), t.const_data_ptr<int64_t>() + t.numel()};
}

TEST(ExpertRows, AreSortedByExpertThenToken) {
  const ExpertOrder order = order_by_expert(choices_of({2, 0, 1, 2, 0, 2}, 2), 0, 4, 4);
  EXPECT_EQ(order.counts, (std::vector<int64_t>{2, 1, 3, 0}));
  EXPECT_EQ(longs(order.tokens), (std::vector<int64_t>{0, 2, 1, 0, 1, 2}));
  EXPECT_EQ(longs(order.choices), (std::vector<int64_t>{1, 4, 2, 0, 3, 5}));
  EXPECT_EQ(longs(order.positions), (std::vector<int64_t>{3, 0, 2, 4, 1, 5}));
}

TEST(ExpertRows, OfOtherRanksAreLeftOut) {
  const ExpertOrder order = order_by_expert(choices_of({2, 0, 1, 2, 0, 2}, 2), 2, 2, 4);
  EXPECT_EQ(order.counts, (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(longs(order.positions), (std::vector<int64_t>{0, -1, -1, 1, -1, 2}));
  EXPECT_THROW(order_by_expert(choices_of({4}, 1), 0, 4, 4), Error);
  EXPECT_THROW(order_by_expert(choices_of({-2}, 1), 0, 4, 4), Error);
}

TEST(ExpertRows, WhatGoesNowhereHasNoRow) {
  const ExpertOrder order = order_by_expert(choices_of({2, -1, -1, -1, 0, 2}, 2), 0, 4, 4);
  EXPECT_EQ(order.counts, (std::vector<int64_t>{1, 0, 2, 0}));
  EXPECT_EQ(longs(order.positions), (std::vector<int64_t>{1, -1, -1, -1, 0, 2}));
}

TEST(ExpertRows, CombineIsTheWeightedSumOverTheChoices) {
  const at::Tensor x = random_matrix(40, 19, 5);
  RoutingOptions options;
  options.top_k = 3;
  const Routing routing = route(random_matrix(40, 5, 6), options);
  const ExpertOrder order = order_by_expert(routing.experts, 0, 5, 5);
  const at::Tensor rows = x.index_select(0, order.tokens);
  const at::Tensor out = combine_rows(rows, order, routing.weights);
  const at::Tensor expected = x * routing.weights.sum(1, /*keepdim=*/true);
  EXPECT_LT((out - expected).abs().max().item().toDouble(), 1e-6);
  // The parts of two halves of the experts add up to the whole.
  at::Tensor sum;
  for (const int64_t first : {0, 2}) {
    const ExpertOrder part = order_by_expert(routing.experts, first, first == 0 ? 2 : 3, 5);
    const at::Tensor mine = combine_rows(x.index_select(0, part.tokens), part, routing.weights);
    sum = sum.defined() ? sum + mine : mine;
  }
  EXPECT_LT((sum - expected).abs().max().item().toDouble(), 1e-6);
}

TEST(ExpertRows, DotsAndScalesAreRowByRow) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor a = random_matrix(9, 21, 7).to(dtype);
    const at::Tensor b = random_matrix(9, 21, 8).to(dtype);
    const at::Tensor expected = (a.to(at::kDouble) * b.to(at::kDouble)).sum(1);
    EXPECT_LT((row_dots(a, b).to(at::kDouble) - expected).abs().max().item().toDouble(), 1e-5);
    const at::Tensor factors = random_matrix(9, 1, 9).view({-1});
    const at::Tensor scaled = a.clone();
    scale_rows(scaled, factors);
    EXPECT_TRUE(scaled.equal((a.to(at::kFloat) * factors.unsqueeze(1)).to(dtype)));
  }
}

TEST(ExpertRows, NoRowsAreFine) {
  const ExpertOrder order = order_by_expert(choices_of({0, 1}, 2), 2, 2, 4);
  EXPECT_EQ(order.rows(), 0);
  const at::Tensor out = combine_rows(at::empty({0, 7}), order, at::full({1, 2}, 0.5F));
  EXPECT_EQ(out.size(0), 1);
  EXPECT_EQ(out.abs().max().item().toDouble(), 0);
}

}  // namespace
}  // namespace tessera::kernels
