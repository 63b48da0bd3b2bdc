// Training on devices, on those without hardware: whole meshes give what one rank on the cpu gives, although
// every collective ends as late as it may, nothing can be read that has not been waited for, and the host can
// read no memory of the device.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "support/fake_device.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using On = TrainingRun::On;

TrainingRun base_run() {
  TrainingRun run;
  run.config = tiny_config(/*tied=*/true);
  run.config.num_layers = 4;
  run.config.sliding_window = {0, 5, 0, 9};
  run.config.num_heads = 8;
  run.config.qk_norm = true;
  run.config.qkv_bias = true;
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.optimizer.momentum = 0.9;
  run.options.lr = 0.3;
  run.mesh.dp_shard = 1;
  return run;
}

const TrainingOutcome& one_cpu_rank() {
  static const TrainingOutcome outcome = train(base_run());
  return outcome;
}

void expect_cpu_result(const TrainingRun& run) {
  const TrainingOutcome& expected = one_cpu_rank();
  const TrainingOutcome actual = train(run);
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], 2e-6 * expected.losses[s]) << "step " << s + 1;
    EXPECT_NEAR(actual.norms[s], expected.norms[s], 1e-5 * expected.norms[s]) << "step " << s + 1;
  }
  EXPECT_LT(worst_error(actual.gradients, expected.gradients), 1e-5);
  EXPECT_LT(worst_error(actual.weights, expected.weights), 2e-5);
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TrainingRun on_mesh(const MeshSpec& mesh, On on = On::device_nccl) {
  TrainingRun run = base_run();
  run.mesh = mesh;
  run.on = on;
  run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
  return run;
}

TEST(DeviceTraining, OneRank) {
  expect_cpu_result(on_mesh({.dp_shard = 1}));
}

TEST(DeviceTraining, ShardedWeightsAndGradientAccumulation) {
  TrainingRun run = on_mesh({.dp_shard = 4});
  run.microbatches = 3;
  expect_cpu_result(run);
}

TEST(DeviceTraining, ReplicatedShards) {
  expect_cpu_result(on_mesh({.dp_replicate = 2, .dp_shard = 2}));
}

TEST(DeviceTraining, TensorParallel) {
  expect_cpu_result(on_mesh({.dp_shard = 2, .tp = 2}));
}

TEST(DeviceTraining, SequenceParallel) {
  TrainingRun run = on_mesh({.dp_shard = 1, .tp = 2});
  run.options.sequence_parallel = true;
  expect_cpu_result(run);
}

TEST(DeviceTraining, EveryContextExchange) {
  for (const ContextExchange exchange :
       {ContextExchange::ring, ContextExchange::all_gather, ContextExchange::ulysses}) {
    SCOPED_TRACE(context_exchange_name(exchange));
    TrainingRun run = on_mesh({.dp_shard = 1, .cp = 2});
    run.options.context.exchange = exchange;
    expect_cpu_result(run);
  }
}

TEST(DeviceTraining, PipelinesOfEveryKind) {
  for (const PipelineSchedule schedule :
       {PipelineSchedule::gpipe, PipelineSchedule::one_f_one_b, PipelineSchedule::zero_bubble_v}) {
    SCOPED_TRACE(schedule_name(schedule));
    TrainingRun run = on_mesh({.pp = 2, .dp_shard = 2});
    run.options.pipeline.schedule = schedule;
    run.microbatches = 4;
    expect_cpu_result(run);
  }
}

TEST(DeviceTraining, AllAxesAtOnce) {
  TrainingRun run = on_mesh({.pp = 2, .dp_shard = 2, .cp = 2, .tp = 2});
  run.microbatches = 4;
  expect_cpu_result(run);
}

TEST(DeviceTraining, ThroughHostMemory) {
  expect_cpu_result(on_mesh({.dp_shard = 2, .tp = 2}, On::device_staged));
}

TEST(DeviceTraining, WhatGpusCannotDoYetIsRefusedAndNotIgnored) {
  TrainingRun run = on_mesh({.dp_shard = 2});
  run.options.offload = true;
  try {
    train(run);
    FAIL() << "memory.offload was ignored";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsupported);
    EXPECT_NE(std::string(error.what()).find("memory.offload=true"), std::string::npos) << error.what();
  }
}

TEST(DeviceTraining, Bfloat16WeightsUnderFloat32Masters) {
  TrainingRun run = base_run();
  run.options.precision.param = at::kBFloat16;
  const TrainingOutcome expected = train(run);
  run.mesh = {.dp_shard = 2};
  run.ranks = 2;
  run.on = On::device_nccl;
  const TrainingOutcome actual = train(run);
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], 2e-2 * expected.losses[s]) << "step " << s + 1;
  }
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

}  // namespace
}  // namespace tessera::testing
