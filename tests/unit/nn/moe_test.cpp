// A mixture of experts with a capacity against the same formed in float64, token by token.
#include "nn/moe.h"

#include <gtest/gtest.h>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "data/batch_builder.h"
#include "kernels/linear.h"

namespace tessera {
namespace {

constexpr int64_t kTokens = 37, kHidden = 12, kWidth = 10, kExperts = 5, kTopK = 2;

class Grads final : public WeightGrads {
 public:
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override {
    got[weight] = at::mm(dy.to(at::kDouble).t(), x.to(at::kDouble));
  }
  void add(int weight, const at::Tensor& grad) override { got[weight] = grad.to(at::kDouble); }
  void add_rows(int, const at::Tensor&, const at::Tensor&) override { ADD_FAILURE(); }
  std::map<int, at::Tensor> got;
};

PackedBatch batch_of(int64_t tokens) {
  BatchBuilder builder{BatchLayout{}};
  const std::vector<int32_t> ids(tokens, 1);
  builder.add(ids, ids);
  return builder.finish();
}

/// Router, then gate, up and down of each expert, in float64.
at::Tensor reference(const std::vector<at::Tensor>& weights, const at::Tensor& x, double capacity_factor,
                     int64_t& dropped) {
  const at::Tensor scores = at::softmax(at::mm(x, weights[0].t()), 1);
  struct Choice {
    int64_t token, expert;
    double weight;
    bool kept = true;
  };
  std::vector<std::vector<Choice>> of_token(kTokens);
  std::vector<std::vector<Choice*>> of_expert(kExperts);
  for (int64_t t = 0; t < kTokens; ++t) {
    std::vector<int64_t> order(kExperts);
    for (int64_t e = 0; e < kExperts; ++e) order[e] = e;
    const auto score = [&](int64_t e) { return scores[t][e].item<double>(); };
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
    double sum = 0;
    for (int64_t j = 0; j < kTopK; ++j) sum += score(order[j]);
    for (int64_t j = 0; j < kTopK; ++j) of_token[t].push_back({t, order[j], score(order[j]) / sum});
  }
  for (std::vector<Choice>& choices : of_token) {
    for (Choice& choice : choices) of_expert[choice.expert].push_back(&choice);
  }
  const auto room = static_cast<size_t>(std::ceil(capacity_factor * kTopK * kTokens / kExperts));
  for (std::vector<Choice*>& choices : of_expert) {
    std::stable_sort(choices.begin(), choices.end(),
                     [](const Choice* a, const Choice* b) { return a->weight > b->weight; });
    for (size_t i = room; i < choices.size(); ++i) choices[i]->kept = false, ++dropped;
  }
  const at::Tensor y = at::zeros({kTokens, kHidden}, at::kDouble);
  for (int64_t t = 0; t < kTokens; ++t) {
    double all = 0, kept = 0;
    for (const Choice& choice : of_token[t]) {
      all += choice.weight;
      if (choice.kept) kept += choice.weight;
    }
    for (const Choice& choice : of_token[t]) {
      if (!choice.kept) continue;
      const at::Tensor* expert = &weights[1 + 3 * choice.expert];
      const at::Tensor gate = at::mv(expert[0], x[t]);
      const at::Tensor activation = gate.mul(at::sigmoid(gate)).mul(at::mv(expert[1], x[t]));
      y[t].add_(at::mv(expert[2], activation), choice.weight * all / kept);
    }
  }
  return y;
}

TEST(MoeCapacityTest, OutputAndGradientsAreThoseOfTheDefinition) {
  for (const double factor : {0.75, 1.0, 1.5}) {
    MoeSpec spec;
    spec.router.hidden = spec.experts.hidden = kHidden;
    spec.router.experts = spec.experts.placement.experts = kExperts;
    spec.router.options.top_k = kTopK;
    spec.router.options.normalize = true;
    spec.experts.intermediate = kWidth;
    ParallelContext parallel;
    parallel.experts.capacity_factor = factor;
    std::vector<ParamSpec> params;
    Moe moe("moe", spec, parallel, params);
    std::vector<at::Tensor> weights, exact;
    for (const ParamSpec& param : params) {
      weights.push_back(at::randn(param.shape, at::dtype(at::kFloat)).mul_(0.5));
      exact.push_back(weights.back().to(at::kDouble));
    }
    ASSERT_EQ(weights.size(), 1u + 3 * kExperts);
    moe.bind(weights);
    const at::Tensor x = at::randn({kTokens, kHidden}, at::dtype(at::kFloat));
    const at::Tensor dy = at::randn({kTokens, kHidden}, at::dtype(at::kFloat));
    const PackedBatch batch = batch_of(kTokens);
    Microbatch mb;
    mb.batch = &batch;
    mb.whole_tokens = kTokens;
    Saved saved;
    Grads grads;
    const at::Tensor y = moe.forward(weights, x, mb, saved, Recompute::none);
    const at::Tensor dx = moe.backward(weights, dy, x, mb, saved, grads);
    EXPECT_TRUE(saved.empty());

    int64_t dropped = 0;
    const at::Tensor expected = reference(exact, x.to(at::kDouble), factor, dropped);
    if (factor <= 1) {
      EXPECT_GT(dropped, 0);
    }
    EXPECT_LT(y.sub(expected).abs().max().item<double>(), 1e-5);

    // Central differences of the definition, along a random direction in each tensor.
    const auto slope = [&](const at::Tensor& value, const std::function<at::Tensor()>& form) {
      const double h = 1e-6;
      const at::Tensor direction = at::randn(value.sizes(), at::kDouble);
      value.add_(direction, h);
      const double above = form().mul(dy).sum().item<double>();
      value.sub_(direction, 2 * h);
      const double below = form().mul(dy).sum().item<double>();
      value.add_(direction, h);
      return std::pair(direction, (above - below) / (2 * h));
    };
    const at::Tensor exact_x = x.to(at::kDouble);
    const auto form = [&] { return reference(exact, exact_x, factor, dropped); };
    const auto expect_slope = [&](const at::Tensor& value, const at::Tensor& gradient,
                                  const std::string& name) {
      const auto [direction, numeric] = slope(value, form);
      const double analytic = gradient.to(at::kDouble).mul(direction).sum().item<double>();
      EXPECT_NEAR(analytic, numeric, 2e-4 * (1 + std::abs(numeric))) << name << ", factor " << factor;
    };
    expect_slope(exact_x, dx, "x");
    for (size_t i = 0; i < params.size(); ++i) {
      expect_slope(exact[i], grads.got.at(static_cast<int>(i)), params[i].name);
    }

    // Without whole_tokens, as in evaluation, nothing is dropped.
    mb.whole_tokens = -1;
    Saved unused;
    const at::Tensor all = moe.forward(weights, x, mb, unused, Recompute::none);
    EXPECT_LT(all.sub(reference(exact, x.to(at::kDouble), 1e3, dropped)).abs().max().item<double>(), 1e-5);
  }
}

}  // namespace
}  // namespace tessera
