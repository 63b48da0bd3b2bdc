// Experts on rows of any counts give what each gives alone, with gradients, on any number of threads.
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

#include <atomic>
#include <map>
#include <stdexcept>

#include "kernels/linear.h"
#include "kernels/side_by_side.h"
#include "nn/experts.h"

namespace tessera {
namespace {

constexpr int64_t kHidden = 24;
constexpr int64_t kWidth = 40;

class Grads final : public WeightGrads {
 public:
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override {
    add(weight, at::mm(dy.to(at::kDouble).t(), x.to(at::kDouble)));
  }
  void add(int weight, const at::Tensor& grad) override {
    EXPECT_EQ(got.count(weight), 0u) << "weight " << weight << " twice";
    got[weight] = grad.to(at::kDouble);
  }
  void add_rows(int, const at::Tensor&, const at::Tensor&) override { ADD_FAILURE(); }
  std::map<int, at::Tensor> got;
};

struct Threads {
  explicit Threads(int count) : before(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before); }
  int before;
};

struct Outcome {
  at::Tensor results, rows, weights;
  std::map<int, at::Tensor> grads;
};

struct Case {
  std::vector<int64_t> counts;
  at::ScalarType dtype = at::kFloat;
  bool bias = false;
  Recompute recompute = Recompute::none;
};

double error(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return 0;
  const double scale = expected.to(at::kDouble).abs().max().item<double>();
  return actual.to(at::kDouble).sub(expected.to(at::kDouble)).abs().max().item<double>() / (scale + 1e-30);
}

void check(const Case& with, const std::vector<int>& thread_counts = {1}) {
  ExpertsSpec spec;
  spec.hidden = kHidden;
  spec.intermediate = kWidth;
  spec.bias = with.bias;
  spec.placement.experts = static_cast<int64_t>(with.counts.size());
  std::vector<ParamSpec> params;
  Experts experts("moe", spec, params);
  std::vector<at::Tensor> weights;
  for (const ParamSpec& param : params) {
    weights.push_back(at::randn(param.shape, at::dtype(at::kFloat)).mul_(0.3).to(with.dtype));
  }
  experts.bind(weights);
  int64_t all = 0;
  for (const int64_t count : with.counts) all += count;
  const auto floats = at::dtype(at::kFloat);
  const at::Tensor rows = at::randn({all, kHidden}, floats).to(with.dtype);
  const at::Tensor drows = at::randn({all, kHidden}, floats).to(with.dtype);
  const at::Tensor factors = at::randn({all}, floats);

  std::vector<Outcome> outcomes;
  for (const int threads : thread_counts) {
    const Threads set(threads);
    Outcome outcome;
    Saved saved;
    saved.set_recompute(with.recompute);
    outcome.results = experts.forward(weights, rows, with.counts, saved, with.recompute);
    Grads grads;
    const at::Tensor untouched = drows.clone();
    const Experts::Gradients inner =
        experts.backward(weights, drows, factors, rows, with.counts, saved, grads);
    EXPECT_TRUE(at::equal(drows, untouched));
    EXPECT_TRUE(saved.empty());
    EXPECT_EQ(grads.got.size(), params.size());
    outcomes.push_back({outcome.results, inner.rows, inner.weights, grads.got});
  }

  // Each expert alone, in float64.
  const double tolerance = with.dtype == at::kFloat ? 2e-5 : 3e-2;
  const int per_expert = with.bias ? 6 : 3;  // gate, up, [their biases,] down[, its bias]
  int64_t first = 0;
  for (size_t e = 0; e < with.counts.size(); ++e) {
    const int64_t count = with.counts[e];
    const int at = static_cast<int>(e) * per_expert;
    const auto weight = [&](int i) { return weights[at + i].to(at::kDouble); };
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, first, count).to(at::kDouble); };
    const at::Tensor wd = weight(with.bias ? 4 : 2);
    at::Tensor gate = at::mm(part(rows), weight(0).t());
    at::Tensor up = at::mm(part(rows), weight(1).t());
    if (with.bias) gate.add_(weight(2)), up.add_(weight(3));
    const at::Tensor s = at::sigmoid(gate);
    const at::Tensor silu = gate.mul(s);
    const at::Tensor activation = silu.mul(up);
    at::Tensor result = at::mm(activation, wd.t());
    if (with.bias) result.add_(weight(5));
    const at::Tensor dy = part(drows);
    const at::Tensor wdy = dy.mul(part(factors).unsqueeze(1));
    const at::Tensor da = at::mm(wdy, wd);
    const at::Tensor dgate = da.mul(up).mul(s.add(silu.mul(s.neg().add(1))));
    const at::Tensor dup = da.mul(silu);
    const at::Tensor dx = at::mm(dgate, weight(0)).add(at::mm(dup, weight(1)));
    std::map<int, at::Tensor> grads = {{0, at::mm(dgate.t(), part(rows))}, {1, at::mm(dup.t(), part(rows))}};
    grads[with.bias ? 4 : 2] = at::mm(wdy.t(), activation);
    if (with.bias) grads[2] = dgate.sum(0), grads[3] = dup.sum(0), grads[5] = wdy.sum(0);
    for (const Outcome& outcome : outcomes) {
      EXPECT_LT(error(outcome.results.narrow(0, first, count), result), tolerance) << "expert " << e;
      EXPECT_LT(error(outcome.rows.narrow(0, first, count), dx), tolerance) << "expert " << e;
      const at::Tensor products = dy.mul(result);  // which may cancel
      const at::Tensor off = outcome.weights.narrow(0, first, count).sub(products.sum(1)).abs();
      EXPECT_TRUE(off.le(products.abs().sum(1).mul(tolerance)).all().item<bool>()) << "expert " << e;
      for (const auto& [i, expected] : grads) {
        EXPECT_LT(error(outcome.grads.at(at + i), expected), tolerance) << "expert " << e << ", weight " << i;
      }
    }
    first += count;
  }
}

TEST(ExpertRowsTest, EachExpertComputesItsOwnRowsOnly) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const Recompute recompute : {Recompute::none, Recompute::selective}) {
      for (const bool bias : {false, true}) {
        // Side by side on three threads.
        const std::vector<int> threads = {1, recompute == Recompute::none && !bias ? 3 : 1};
        check({{33, 0, 9, 17, 21, 1, 40, 13}, dtype, bias, recompute}, threads);
        check({{70, 0, 5}, dtype, bias, recompute});  // one after the other
        check({{3, 9}, dtype, bias, recompute});      // the last window reaches back over its neighbour
        check({{0, 0, 11}, dtype, bias, recompute});
        check({{0, 0, 0}, dtype, bias, recompute});
      }
    }
  }
}

TEST(ExpertRowsTest, RowsAreRoundedUpByAnEighthAtMostAndToFewNumbers) {
  const at::Tensor like = at::empty({1}, at::kBFloat16);
  std::map<int64_t, int> seen;
  for (int64_t rows = 0; rows <= 4096; ++rows) {
    const int64_t preferred = kernels::preferred_rows(like, rows);
    EXPECT_GE(preferred, rows);
    if (rows >= 64) {
      EXPECT_LE(preferred * 8, rows * 9);
    }
    if (rows > 8) ++seen[preferred];
  }
  EXPECT_LE(seen.size(), 64u);
}

TEST(SideBySideTest, EachPieceIsDoneOnceAndErrorsComeBack) {
  const Threads set(4);
  for (const std::vector<int64_t>& costs :
       {std::vector<int64_t>(37, 1), {100, 1, 1}, {}, {5, 4, 3, 2, 1, 5, 4, 3, 2, 1}, {0, 0, 0, 0, 0}}) {
    std::vector<std::atomic<int>> done(costs.size());
    kernels::side_by_side(costs, [&](size_t i) { ++done[i]; });
    for (const std::atomic<int>& times : done) EXPECT_EQ(times, 1);
  }
  EXPECT_TRUE(kernels::worth_side_by_side(std::vector<int64_t>(37, 1)));
  EXPECT_FALSE(kernels::worth_side_by_side({100, 1, 1}));
  EXPECT_FALSE(kernels::worth_side_by_side({0, 0, 0, 0}));
  const auto failing = [](size_t i) {
    if (i == 5) throw std::runtime_error("five");
  };
  EXPECT_THROW(kernels::side_by_side(std::vector<int64_t>(20, 1), failing), std::runtime_error);
}

}  // namespace
}  // namespace tessera
