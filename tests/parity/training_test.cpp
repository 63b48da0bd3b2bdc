// Training steps are those of PyTorch: transformers' model, torch.optim.AdamW with decay on matrices only,
// and clip_grad_norm_.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/elementwise.h"
#include "optim/optimizer.h"
#include "parity/reference.h"

namespace tessera::testing {
namespace {

// As in reference.py.
constexpr int kSteps = 4;
constexpr double kLearningRate = 3e-3;
constexpr double kClip = 1.0;

TEST(ParityTest, WeightsAfterAdamWStepsAreThoseOfPyTorch) {
  for_each_case([](const Reference& reference) {
    SingleRankModel model(reference.config(), at::kFloat, true);
    reference.load_weights(model);
    std::vector<ParamShard> shards;
    std::vector<at::Tensor> start;
    for (const std::string& name : model.names()) {
      const at::Tensor weight = model.weight(name);
      start.push_back(weight.clone());
      shards.push_back({name, weight.view({-1}), {}, {}, weight.dim() > 1});
    }
    const auto optimizer = make_optimizer({"adamw", 0.9, 0.95, 1e-8, 0.1, 0});

    for (int step = 1; step <= kSteps; ++step) {
      const PackedBatch batch = reference.batch(step - 1, 1);
      const auto count = static_cast<double>(batch.label_count);
      const double loss = model.forward_backward(batch, 1 / count) / count;
      const double expected_loss = reference.number("train.losses", step - 1);
      EXPECT_LT(std::abs(loss - expected_loss), 1e-5 * expected_loss) << "step " << step;

      double squares = 0;
      for (ParamShard& shard : shards) {
        shard.grad = model.grad(shard.name).view({-1});
        squares += kernels::sum_of_squares(shard.grad);
      }
      const double norm = std::sqrt(squares);
      const double expected_norm = reference.number("train.norms", step - 1);
      EXPECT_LT(std::abs(norm - expected_norm), 1e-5 * expected_norm) << "step " << step;
      optimizer->step(shards, kLearningRate, clip_coefficient(norm, kClip), step);
    }

    TotalError total;
    TotalError total_noise;
    double worst = 0;
    for (size_t i = 0; i < shards.size(); ++i) {
      const std::string& name = shards[i].name;
      // What the steps changed, not the weights, of which it is a hundredth.
      const at::Tensor expected = reference.tensor("train.weight." + name).sub(start[i]);
      const at::Tensor again = reference.tensor("train.again." + name).sub(start[i]);
      const at::Tensor update = model.weight(name).sub(start[i]);
      const double error = relative_error(update, expected);
      EXPECT_LT(error, 1e-4 + 4 * relative_error(again, expected)) << name;
      total.add(update, expected);
      total_noise.add(again, expected);
      worst = std::max(worst, error);
    }
    EXPECT_LT(total.relative(), 2e-5 + 3 * total_noise.relative());
    report(reference, cat("updates ", total.relative(), " (PyTorch with itself ", total_noise.relative(),
                          "), worst tensor ", worst));
  });
}

}  // namespace
}  // namespace tessera::testing
