// What training on a GPU has beside plain steps: experts, offloading, float8 and graphs, against the cpu or
// against the same without.
#include <gtest/gtest.h>

#include <vector>

#include "core/cuda_plugin.h"
#include "core/error.h"
#include "mesh/device_mesh.h"
#include "rank_threads.h"
#include "training_run.h"

namespace tessera::testing {
namespace {

class TrainingOn : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  }
};

TrainingRun base_run() {
  TrainingRun run;
  run.config = tiny_config(/*tied=*/true);
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.lr = 0.1;
  run.mesh = {.dp_shard = 1};
  return run;
}

void expect_near(const TrainingOutcome& actual, const TrainingOutcome& expected, double tolerance) {
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], tolerance * expected.losses[s]) << "step " << s + 1;
  }
}

/// On the GPU and on the cpu.
void expect_cpu_result(TrainingRun run, double tolerance) {
  const TrainingOutcome expected = train(run);
  run.on = TrainingRun::On::cuda;
  expect_near(train(run), expected, tolerance);
}

TEST_P(TrainingOn, ExpertsTrainAsOnTheCpu) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    TrainingRun run = base_run();
    run.config.moe.experts = 8;
    run.config.moe.intermediate_size = 16;
    run.config.moe.layers = {true, true};
    run.config.moe.routing.top_k = 2;
    run.config.moe.routing.groups = 4;
    run.config.moe.routing.top_groups = 2;
    run.options.experts.balance_loss = 0.02;
    run.options.experts.z_loss = 0.01;
    run.options.precision.param = dtype;
    expect_cpu_result(run, dtype == at::kFloat ? 1e-4 : 2e-2);
  }
}

TEST_P(TrainingOn, ExpertsOfTwoRanksTrainAsOnTheCpu) {
  TrainingRun run = base_run();
  run.config.moe.experts = 8;
  run.config.moe.intermediate_size = 16;
  run.config.moe.layers = {false, true};
  run.config.moe.routing.top_k = 2;
  run.mesh = {.dp_shard = 2, .ep = 2};
  run.ranks = 2;
  expect_cpu_result(run, 1e-4);
}

TEST_P(TrainingOn, OffloadingChangesNothing) {
  for (const bool storage : {true, false}) {
    TrainingRun run = base_run();
    run.config.num_layers = 6;
    run.config.sliding_window.assign(6, 0);
    run.microbatches = 2;
    run.on = TrainingRun::On::cuda;
    const TrainingOutcome expected = train(run);
    run.options.offload = storage;
    run.options.offload_activations = !storage;
    expect_near(train(run), expected, 1e-5);
    run.options.recompute = Recompute::full;
    expect_near(train(run), expected, 1e-4);
  }
}

TEST_P(TrainingOn, Float8TrainsAsOnTheCpu) {
  for (const auto recipe : {kernels::Float8Recipe::tensorwise, kernels::Float8Recipe::rowwise,
                            kernels::Float8Recipe::rowwise_with_gw_hp}) {
    TrainingRun run = base_run();
    run.config.hidden_size = 64;
    run.config.intermediate_size = 96;
    run.config.head_dim = 16;
    run.config.initializer_range = 0.08;
    run.options.precision.param = at::kBFloat16;
    run.options.float8.recipe = recipe;
    try {
      expect_cpu_result(run, 2e-2);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), Code::unsupported) << error.what();
      GTEST_SKIP() << error.what();
    }
  }
}

TEST_P(TrainingOn, CapturedStepsTrainAsOthers) {
  const ModelConfig config = tiny_config();
  const auto losses = [&](bool graphs) {
    WorldOptions where;
    where.device = "cuda";
    std::vector<double> values;
    run_ranks(
        1,
        [&](const WorldPtr& world) {
          TrainerOptions options = tiny_options();
          options.precision.param = at::kBFloat16;
          options.graphs = graphs;
          Trainer trainer(std::make_shared<DeviceMesh>(world, MeshSpec{.dp_shard = 1}), config, "", options);
          for (int step = 0; step < 6; ++step) {
            std::vector<PackedBatch> batches;
            for (int mb = 0; mb < 2; ++mb) {
              batches.push_back(documents_batch(mb * 3, 3, config.vocab_size));
              batches.back().tokens = batches.back().tokens.add(step).remainder(config.vocab_size);
            }
            const StepMetrics metrics = trainer.step(batches);
            values.insert(values.end(), {metrics.loss, metrics.grad_norm});
          }
        },
        where);
    return values;
  };
  const std::vector<double> expected = losses(false), actual = losses(true);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-3 * expected[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Gpus, TrainingOn, ::testing::Values(0), [](const auto&) { return "device"; });

}  // namespace
}  // namespace tessera::testing
