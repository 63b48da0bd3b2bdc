// Training steps are those of PyTorch: transformers' model, torch.optim.AdamW with decay on matrices only,
// and clip_grad_norm_.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "kernels/elementwise.h"
#include "mesh/device_mesh.h"
#include "optim/optimizer.h"
#include "parity/reference.h"
#include "support/rank_threads.h"
#include "train/trainer.h"

namespace tessera::testing {
namespace {

// As in reference.py.
constexpr int kSteps = 4;
constexpr double kLearningRate = 3e-3;
constexpr double kClip = 1.0;
constexpr double kEps = 1e-5;

/// The bias of a router's choice is a buffer in transformers, and no gradient reaches it.
bool is_learned(const std::string& name) {
  return name.find("e_score_correction_bias") == std::string::npos;
}

/// What training changed in the weights is what it changed in PyTorch, as far as the arithmetic fixes it.
void expect_pytorch_updates(const Reference& reference, const std::map<std::string, at::Tensor>& before,
                            const std::map<std::string, at::Tensor>& after) {
  TotalError total;
  TotalError total_noise;
  std::map<std::string, double> errors;
  std::map<std::string, double> noise;
  EXPECT_EQ(after.size(), reference.parameters().size());
  for (const auto& [name, weight] : after) {
    // Not the weights themselves: the updates are a hundredth of them.
    const at::Tensor expected = reference.of("train.weight.", name).sub(before.at(name));
    const at::Tensor again = reference.of("train.again.", name).sub(before.at(name));
    const at::Tensor update = weight.sub(before.at(name));
    errors[name] = relative_error(update, expected);
    noise[name] = relative_error(again, expected);
    total.add(update, expected);
    total_noise.add(again, expected);
  }
  double worst = 0;
  for (const auto& [name, error] : errors) {
    // Two runs of PyTorch are one sample of the noise: where a tensor happened to get little, the model's
    // counts.
    EXPECT_LT(error, 1e-4 + 4 * std::max(noise[name], total_noise.relative())) << name;
    worst = std::max(worst, error);
  }
  EXPECT_LT(total.relative(), 4e-5 + 3 * total_noise.relative());
  report(reference, cat("updates ", total.relative(), " (PyTorch with itself ", total_noise.relative(),
                        "), worst tensor ", worst));
}

TEST(ParityTest, WeightsAfterAdamWStepsAreThoseOfPyTorch) {
  for_each_case([](const Reference& reference) {
    SingleRankModel model(reference.config(), at::kFloat, true);
    reference.load_weights(model);
    std::vector<ParamShard> shards;
    std::vector<at::Tensor> start;
    for (const std::string& name : model.names()) {
      if (!is_learned(name)) continue;
      const at::Tensor weight = model.weight(name);
      start.push_back(weight.clone());
      shards.push_back({name, weight.view({-1}), {}, {}, weight.dim() > 1});
    }
    const auto optimizer = make_optimizer({"adamw", 0.9, 0.95, kEps, 0.1, 0});

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

    std::map<std::string, at::Tensor> before;
    std::map<std::string, at::Tensor> after;
    for (size_t i = 0; i < shards.size(); ++i) {
      before[shards[i].name] = start[i];
      after[shards[i].name] = model.weight(shards[i].name);
    }
    expect_pytorch_updates(reference, before, after);
  });
}

/// One rank's part of kSteps steps through the Trainer; the first in its two halves, to see the gradients
/// between.
void train_and_compare(const Reference& reference, const DeviceMeshPtr& mesh, Recompute recompute,
                       const std::string& export_directory) {
  const bool records = mesh->world()->rank() == 0;
  TrainerOptions options;
  options.precision = {at::kFloat, at::kFloat, at::kFloat, at::kFloat};
  options.optimizer = {"adamw", 0.9, 0.95, kEps, 0.1, 0};
  options.lr = kLearningRate;
  options.clip = kClip;
  options.recompute = recompute;
  Trainer trainer(mesh, reference.config(), reference.directory(), options);
  const auto part = static_cast<int>(mesh->index("dp"));
  const auto parts = static_cast<int>(mesh->size("dp"));

  const PackedBatch whole = reference.batch(0, 4);
  const at::Tensor logits = trainer.logits(whole);
  std::map<std::string, at::Tensor> before;
  std::map<std::string, at::Tensor> after;
  for (const std::string& name : trainer.parameter_names()) before[name] = trainer.parameter(name).clone();
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<PackedBatch> mine = {reference.part_of_batch(step, part, parts)};
    StepMetrics metrics = trainer.forward_backward(mine);
    for (const std::string& name : trainer.parameter_names()) {
      if (step > 0) break;
      if (!is_learned(name)) continue;
      const at::Tensor gradient = trainer.gradient(name);
      if (!records) continue;
      EXPECT_LT(relative_error(gradient, reference.of("fp32.grad.", name)), 1e-4) << name;
    }
    metrics.grad_norm = trainer.optimizer_step().grad_norm;
    if (!records) continue;
    const double loss = reference.number("train.losses", step);
    const double norm = reference.number("train.norms", step);
    EXPECT_LT(std::abs(metrics.loss - loss), 1e-5 * loss) << "step " << step + 1;
    EXPECT_LT(std::abs(metrics.grad_norm - norm), 1e-5 * norm) << "step " << step + 1;
  }
  for (const std::string& name : trainer.parameter_names()) {
    const at::Tensor value = trainer.parameter(name).clone();
    if (is_learned(name)) after[name] = value;
  }
  if (!export_directory.empty()) trainer.export_hf(export_directory, std::nullopt);
  if (!records) return;
  EXPECT_LT(relative_error(reference.real_rows(logits, whole), reference.tensor("fp32.logits")), 1e-5);
  expect_pytorch_updates(reference, before, after);
}

void train_on_mesh(int replicate, int shard, Recompute recompute, bool exports = false) {
  for_each_case([&](const Reference& reference) {
    std::string export_directory;
    if (exports) {
      export_directory = std::string(TESSERA_PARITY_EXPORTS) + "/" + reference.name();
      std::filesystem::remove_all(export_directory);
      std::filesystem::create_directories(TESSERA_PARITY_EXPORTS);
    }
    run_ranks(replicate * shard, [&](const WorldPtr& world) {
      MeshSpec spec;
      spec.dp_replicate = replicate;
      spec.dp_shard = shard;
      const auto mesh = std::make_shared<DeviceMesh>(world, spec);
      train_and_compare(reference, mesh, recompute, export_directory);
    });
  });
}

TEST(ParityTest, TheTrainerOnOneRankIsPyTorch) {
  train_on_mesh(1, 1, Recompute::selective);
}
// check_exports.py then looks at what this wrote.
TEST(ParityTest, TheTrainerOnFourShardsIsPyTorchAndExports) {
  train_on_mesh(1, 4, Recompute::full, /*exports=*/true);
}
TEST(ParityTest, TheTrainerOnTwoReplicasOfThreeShardsIsPyTorch) {
  train_on_mesh(2, 3, Recompute::none);
}

}  // namespace
}  // namespace tessera::testing
