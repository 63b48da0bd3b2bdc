// Experts on a device, where one launch computes all of them, give what one product per expert gives on the
// cpu.
#include "nn/experts.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <numeric>

#include "support/fake_device.h"
#include "support/single_rank.h"

namespace tessera::testing {
namespace {

constexpr int64_t kHidden = 16;
constexpr int64_t kWidth = 24;

/// What an experts' block computed, on the cpu.
struct Result {
  at::Tensor rows, drows, dweights;
  std::vector<at::Tensor> dparams;
  size_t saved = 0;
};

class Collect final : public WeightGrads {
 public:
  explicit Collect(size_t count) : grads(count) {}
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override {
    EXPECT_FALSE(grads[weight].defined());
    grads[weight] = dy.to(at::kCPU, at::kFloat).t().matmul(x.to(at::kCPU, at::kFloat));
  }
  void add(int, const at::Tensor&) override { FAIL(); }
  void add_rows(int, const at::Tensor&, const at::Tensor&) override { FAIL(); }
  std::vector<at::Tensor> grads;
};

Result run(at::Device device, at::ScalarType dtype, const std::vector<int64_t>& expert_rows,
           Recompute recompute) {
  ExpertsSpec spec;
  spec.hidden = kHidden;
  spec.intermediate = kWidth;
  spec.placement = {static_cast<int64_t>(expert_rows.size()), 1, 0};
  std::vector<ParamSpec> params;
  Experts experts("mlp", spec, params);
  const at::Tensor flat = at::empty({spec.placement.experts * 3 * kHidden * kWidth}, at::kFloat);
  const int64_t count = std::accumulate(expert_rows.begin(), expert_rows.end(), int64_t{0});
  const auto random = [&](const at::Tensor& out, unsigned seed) {
    auto* values = out.mutable_data_ptr<float>();
    for (int64_t i = 0; i < out.numel(); ++i) {
      seed = seed * 1664525U + 1013904223U;
      values[i] = static_cast<float>(seed >> 8) / static_cast<float>(1U << 23) - 1;
    }
    return out.to(device, dtype);
  };
  const at::Tensor memory = random(flat, 1);
  std::vector<at::Tensor> weights;
  int64_t offset = 0;
  for (const ParamSpec& param : params) {
    const int64_t numel = param.shape[0] * param.shape[1];
    weights.push_back(memory.narrow(0, offset, numel).view(param.shape));
    offset += numel;
  }
  experts.bind(weights);
  const at::Tensor x = random(at::empty({count, kHidden}, at::kFloat), 2);
  const at::Tensor dy = random(at::empty({count, kHidden}, at::kFloat), 3);
  const at::Tensor factors = random(at::empty({count}, at::kFloat), 4).to(at::kFloat);
  Saved saved;
  saved.set_recompute(recompute);
  Result result;
  result.rows = experts.forward(weights, x, expert_rows, saved, recompute).to(at::kCPU, at::kFloat);
  result.saved = saved.tensors().size();
  Collect grads(params.size());
  const Experts::Gradients inner =
      experts.backward(weights, dy.clone(), factors, x, expert_rows, saved, grads);
  EXPECT_TRUE(saved.empty());
  result.drows = inner.rows.to(at::kCPU, at::kFloat);
  result.dweights = inner.weights.to(at::kCPU, at::kFloat);
  result.dparams = grads.grads;
  return result;
}

TEST(ExpertsOnDevice, GroupedProductsGiveWhatOneProductPerExpertGives) {
  const at::Device device(c10::kPrivateUse1, 0);
  for (const Recompute recompute : {Recompute::none, Recompute::selective}) {
    for (const std::vector<int64_t>& rows :
         {std::vector<int64_t>{3, 0, 5, 1}, std::vector<int64_t>{0, 0, 7, 0}, std::vector<int64_t>{4}}) {
      const Result expected = run(at::kCPU, at::kBFloat16, rows, recompute);
      const Result actual = run(device, at::kBFloat16, rows, recompute);
      // Proof that the other way was taken: all experts' activations are one tensor.
      EXPECT_EQ(actual.saved, recompute == Recompute::none ? 2 : 1);
      EXPECT_LT(relative_error(actual.rows, expected.rows, 0), 0.01);
      EXPECT_LT(relative_error(actual.drows, expected.drows, 0), 0.01);
      EXPECT_LT(relative_error(actual.dweights, expected.dweights, 0), 0.01);
      for (size_t p = 0; p < expected.dparams.size(); ++p) {
        ASSERT_EQ(actual.dparams[p].defined(), expected.dparams[p].defined());
        EXPECT_LT(relative_error(actual.dparams[p], expected.dparams[p], 1e-6), 0.01);
      }
    }
  }
}

TEST(ExpertsOnDevice, OtherDtypesAndNoRowsTakeOneProductPerExpert) {
  const at::Device device(c10::kPrivateUse1, 0);
  const Result expected = run(at::kCPU, at::kFloat, {3, 0, 5}, Recompute::none);
  const Result actual = run(device, at::kFloat, {3, 0, 5}, Recompute::none);
  EXPECT_EQ(actual.saved, expected.saved);
  EXPECT_LT(relative_error(actual.drows, expected.drows, 0), 1e-5);
  EXPECT_EQ(run(device, at::kBFloat16, {0, 0}, Recompute::none).rows.size(0), 0);
}

}  // namespace
}  // namespace tessera::testing
