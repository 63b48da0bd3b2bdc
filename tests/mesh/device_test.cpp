// Training on devices, on those without hardware: whole meshes give what one rank on the cpu gives, although
// every collective ends as late as it may, nothing can be read that has not been waited for, and the host can
// read no memory of the device.
#include <gtest/gtest.h>

#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cmath>
#include <map>
#include <thread>

#include "core/error.h"
#include "models/model.h"
#include "parallel/sharded_model.h"
#include "support/fake_device.h"
#include "support/single_rank.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using On = TrainingRun::On;

TrainingRun base_run() {
  TrainingRun run = sgd_run(tiny_config(/*tied=*/true));
  run.config.num_layers = 4;
  run.config.sliding_window = {0, 5, 0, 9};
  run.config.num_heads = 8;
  run.config.qk_norm = true;
  run.config.qkv_bias = true;
  run.options.lr = 0.3;
  return run;
}

const TrainingOutcome& one_cpu_rank() {
  static const TrainingOutcome outcome = train(base_run());
  return outcome;
}

void expect_cpu_result(const TrainingRun& run) {
  expect_outcome(run, one_cpu_rank());
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

// The first of these runs makes every buffer that the second has.
TEST(DeviceTraining, BuffersAreRegisteredInTheFirstStepAndUsedByAll) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(dtype);
    TrainingRun run = on_mesh({.dp_shard = 4});
    run.options.precision.param = dtype;
    run.steps = 1;
    train(run);
    const Registrations first = registrations();
    run.steps = 3;
    train(run);
    const Registrations all = registrations();
    EXPECT_GT(first.made, 0);
    EXPECT_EQ(all.made, first.made);
    EXPECT_EQ(all.held, 0);
    EXPECT_GT(all.used_gather, first.used_gather);
    EXPECT_GT(all.used_reduce, first.used_reduce);
    EXPECT_EQ(all.plain, first.plain) << "a later step works outside registered memory";
    for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
  }
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

/// Dense, experts with a shared one, experts, experts; groups of experts, a choice that a bias helps to make,
/// and both losses.
TrainingRun expert_run() {
  TrainingRun run = sgd_run(tiny_config(/*tied=*/true));
  run.config.num_layers = 4;
  run.config.sliding_window.assign(4, 0);
  run.config.num_heads = 8;
  run.config.moe.experts = 8;
  run.config.moe.intermediate_size = 16;
  run.config.moe.shared_intermediate_size = 24;
  run.config.moe.layers = {false, true, true, true};
  run.config.moe.routing.top_k = 2;
  run.config.moe.routing.normalize = true;
  run.options.experts.balance_loss = 0.02;
  run.options.experts.z_loss = 0.01;
  return run;
}

void expect_expert_result(TrainingRun run, const MeshSpec& mesh, On on = On::device_nccl) {
  run.mesh = mesh;
  run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
  // On the same mesh, because the balance loss is that of micro-batches, which meshes cut differently.
  const TrainingOutcome expected = train(run);
  run.on = on;
  EXPECT_TRUE(expect_outcome(run, expected));
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(DeviceExperts, OneRank) {
  expect_expert_result(expert_run(), {.dp_shard = 1});
}

TEST(DeviceExperts, EveryWayOfScoring) {
  for (const auto scoring :
       {kernels::RoutingOptions::Scoring::sigmoid, kernels::RoutingOptions::Scoring::topk_softmax}) {
    TrainingRun run = expert_run();
    run.config.moe.routing.scoring = scoring;
    run.config.moe.routing.groups = 4;
    run.config.moe.routing.top_groups = 2;
    run.config.moe.routing.scale = 1.5;
    run.config.moe.selection_bias_name = "gate.e_score_correction_bias";
    run.options.experts.bias_update_speed = 0.1;
    for (int layer = 1; layer < 4; ++layer) {
      run.set[cat("model.layers.", layer, ".mlp.gate.e_score_correction_bias")] = at::zeros({8}, at::kFloat);
    }
    expect_expert_result(run, {.dp_shard = 1});
  }
}

TEST(DeviceExperts, SpreadOverRanksBothWays) {
  for (const char* exchange : {"all_to_all", "all_gather"}) {
    SCOPED_TRACE(exchange);
    TrainingRun run = expert_run();
    run.options.experts.exchange = exchange;
    run.microbatches = 3;
    expect_expert_result(run, {.dp_shard = 4, .ep = 2});
  }
}

TEST(DeviceExperts, WithEveryAxis) {
  TrainingRun run = expert_run();
  run.microbatches = 8;
  expect_expert_result(run, {.pp = 2, .dp_shard = 2, .cp = 2, .tp = 2, .ep = 4});
}

TEST(DeviceExperts, WithCutWidthsAndRecomputation) {
  TrainingRun run = expert_run();
  run.options.experts.split_width = true;
  run.options.recompute = Recompute::full;
  expect_expert_result(run, {.dp_shard = 2, .tp = 2, .ep = 2});
}

TEST(DeviceExperts, WithACapacityAndTheLossOfTheWholeStep) {
  TrainingRun run = expert_run();
  run.options.experts.capacity_factor = 1;
  run.options.experts.balance_loss = 0.1;
  run.options.experts.global_balance = true;
  run.microbatches = 2;
  const TrainingOutcome expected = train(run);
  for (const bool cp : {false, true}) {
    run.on = On::device_nccl;
    run.mesh = {.dp_shard = cp ? 1 : 2, .cp = cp ? 2 : 1, .tp = 2, .ep = 2};
    run.ranks = 4;
    run.microbatches = cp ? 2 : 1;
    EXPECT_TRUE(expect_outcome(run, expected));
  }
}

TEST(DeviceExperts, ThroughHostMemory) {
  expect_expert_result(expert_run(), {.dp_shard = 2, .ep = 2}, On::device_staged);
}

TEST(DeviceExperts, Bfloat16WithGroupedProducts) {
  TrainingRun run = expert_run();
  run.options.precision.param = at::kBFloat16;
  const TrainingOutcome expected = train(run);
  run.mesh = {.dp_shard = 2, .ep = 2};
  run.ranks = 2;
  run.on = On::device_nccl;
  const TrainingOutcome actual = train(run);
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], 5e-3 * expected.losses[s]) << "step " << s + 1;
  }
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

/// Trains with and without, and returns how much less of the devices' memory was needed.
double saved_by(TrainingRun run, bool storage, bool activations) {
  run.options.offload = false;
  run.options.offload_activations = false;
  take_peak_bytes();
  const TrainingOutcome expected = train(run);
  const auto before = static_cast<double>(take_peak_bytes());
  for (const std::string& violation : take_violations()) ADD_FAILURE() << "not offloaded: " << violation;
  run.options.offload = storage;
  run.options.offload_activations = activations;
  const TrainingOutcome actual = train(run);
  const auto after = static_cast<double>(take_peak_bytes());
  if (activations && !storage) {
    EXPECT_TRUE(identical(actual, expected));
  } else {
    EXPECT_TRUE(expect_outcome(run, expected));
  }
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
  return 1 - after / before;
}

TEST(DeviceOffload, WeightsGradientsAndOptimizerStateRestOnTheHost) {
  TrainingRun run = on_mesh({.dp_shard = 1});
  run.options.optimizer.name = "adamw";
  run.options.lr = 1e-3;
  // Unsharded gradients and gathered weights stay, and sharded ones on the device have memory in backwards
  // alone.
  EXPECT_GT(saved_by(run, true, false), 0.15);
}

TEST(DeviceOffload, OnMeshes) {
  for (const MeshSpec& mesh : {MeshSpec{.dp_shard = 4}, MeshSpec{.dp_replicate = 2, .dp_shard = 2},
                               MeshSpec{.pp = 2, .dp_shard = 2}, MeshSpec{.dp_shard = 2, .tp = 2}}) {
    for (const bool deferred : {true, false}) {
      TrainingRun run = on_mesh(mesh);
      run.microbatches = 2;
      run.options.defer_gradient_sync = deferred;
      saved_by(run, true, false);
    }
  }
}

TEST(DeviceOffload, OfReshardedWeights) {
  TrainingRun run = on_mesh({.dp_shard = 4});
  run.options.reshard = {ReshardPolicy::Kind::group, 2};
  saved_by(run, true, false);
}

TEST(DeviceOffload, OfExperts) {
  TrainingRun run = expert_run();
  run.options.experts.balance_loss = 0;
  run.mesh = {.dp_shard = 2, .ep = 2};
  run.ranks = 2;
  run.on = On::device_nccl;
  saved_by(run, true, true);
}

TEST(DeviceOffload, InBfloat16UnderFloat32Masters) {
  TrainingRun run = on_mesh({.dp_shard = 2});
  run.options.precision.param = at::kBFloat16;
  run.options.offload = true;
  run.options.offload_activations = true;
  const TrainingOutcome actual = train(run);
  run.options.offload = run.options.offload_activations = false;
  const TrainingOutcome expected = train(run);
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], 1e-3 * expected.losses[s]) << "step " << s + 1;
  }
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(DeviceOffload, ActivationsRestOnTheHost) {
  TrainingRun run = on_mesh({.dp_shard = 1});
  run.config.num_layers = 8;
  run.config.sliding_window.assign(8, 0);
  run.documents = 64;
  EXPECT_GT(saved_by(run, false, true), 0.3);
}

TEST(DeviceOffload, OfActivationsWithRecomputationAndPipelines) {
  for (const Recompute recompute : {Recompute::selective, Recompute::full}) {
    TrainingRun run = on_mesh({.dp_shard = 2});
    run.options.recompute = recompute;
    run.microbatches = 2;
    saved_by(run, false, true);
  }
  for (const PipelineSchedule schedule : {PipelineSchedule::one_f_one_b, PipelineSchedule::zero_bubble_v}) {
    TrainingRun run = on_mesh({.pp = 2, .dp_shard = 1, .tp = 2});
    run.options.pipeline.schedule = schedule;
    run.microbatches = 4;
    saved_by(run, false, true);
  }
}

TEST(DeviceTraining, MetricsCountTheMemoryOfTheDevice) {
  const std::vector<WorldPtr> worlds = fake_device_worlds(1, true);
  worlds[0]->bind_thread();
  take_peak_bytes();
  const ModelConfig config = tiny_config();
  Trainer trainer(std::make_shared<DeviceMesh>(worlds[0], MeshSpec{.dp_shard = 1}), config, "",
                  tiny_options());
  const StepMetrics metrics = trainer.step({documents_batch(0, 4, config.vocab_size)});
  EXPECT_EQ(metrics.memory, static_cast<int64_t>(take_peak_bytes()));
  EXPECT_GT(metrics.memory, 0);
}

TEST(DeviceTraining, AStepWithoutEnoughMemoryLeavesTheTrainerAsItWas) {
  const ModelConfig config = tiny_config();
  const auto batches = [&](int step) {
    return std::vector<PackedBatch>{documents_batch(step, 4, config.vocab_size)};
  };
  const auto trained = [&](bool fails) {
    const std::vector<WorldPtr> worlds = fake_device_worlds(1, true);
    worlds[0]->bind_thread();
    Trainer trainer(std::make_shared<DeviceMesh>(worlds[0], MeshSpec{.dp_shard = 1}), config, "",
                    tiny_options());
    std::vector<double> losses = {trainer.step(batches(0)).loss};
    // Wherever in the step it happens.
    for (size_t more = 1024; fails && more <= 64 * 1024; more *= 2) {
      limit_memory(more);
      EXPECT_THROW(trainer.step(batches(9)), c10::OutOfMemoryError) << "with " << more << " bytes more";
      limit_memory(0);
    }
    losses.push_back(trainer.step(batches(1)).loss);
    losses.push_back(trainer.step(batches(2)).loss);
    return losses;
  };
  EXPECT_EQ(trained(true), trained(false));
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(DeviceTraining, RanksLearnThatOneHasNoMemoryLeft) {
  const ModelConfig config = tiny_config();
  const std::vector<WorldPtr> worlds = fake_device_worlds(2, true);
  std::atomic<int> ready{0};
  const auto run = [&](const WorldPtr& world) {
    world->bind_thread();
    Trainer trainer(std::make_shared<DeviceMesh>(world, MeshSpec{.dp_shard = 2}), config, "", tiny_options());
    const std::vector<PackedBatch> batches = {documents_batch(world->rank(), 4, config.vocab_size)};
    trainer.step(batches);
    if (++ready == 2) limit_memory(8 * 1024);
    try {
      for (int step = 0; step < 3; ++step) trainer.step(batches);
      ADD_FAILURE() << "rank " << world->rank() << " had enough memory";
    } catch (const c10::OutOfMemoryError& error) {
      EXPECT_NE(std::string(error.what_without_backtrace()).find("Tried to allocate"), std::string::npos);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::peer_failed) << error.what();
      EXPECT_NE(std::string(error.what()).find("Tried to allocate"), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
  };
  std::thread other([&] { run(worlds[1]); });
  run(worlds[0]);
  other.join();
  limit_memory(0);
}

TEST(DeviceTraining, GradientsOfOneRankLeaveTheirMemoryToForwards) {
  const std::vector<WorldPtr> worlds = fake_device_worlds(1, true);
  worlds[0]->bind_thread();
  ShardedModel model(std::make_shared<DeviceMesh>(worlds[0], MeshSpec{.dp_shard = 1}),
                     build_units(tiny_config(), {}), ShardingOptions{});
  ModelGradients& gradients = model.gradients();
  // Tensors from before a step stay good; while their memory is away no others can be made.
  const at::Tensor views[] = {gradients.shard(0, 0), gradients.shard(1, 0)};
  const auto bytes = [&](int unit) { return views[unit].storage().nbytes(); };
  for (int step = 1; step <= 2; ++step) {
    gradients.begin(false);
    EXPECT_EQ(bytes(0) + bytes(1), 0u) << "while forwards run";
    bool first = false;
    gradients.target(1, 0, first).fill_(step);
    EXPECT_TRUE(first);
    EXPECT_GT(bytes(1), 0u);
    EXPECT_EQ(bytes(0), 0u);
    for (int unit = model.units() - 1; unit >= 0; --unit) {
      gradients.reduce(unit);
      gradients.wait_reduce(unit);
    }
    gradients.end();
    gradients.zero();
    EXPECT_EQ(views[1].mean().item<double>(), step) << "until the next step begins, in tensors from before";
    EXPECT_EQ(views[0].abs().sum().item<double>(), 0) << "not written";
  }
}

TEST(DeviceTraining, GradientsOfOneRankAddUpOverCalls) {
  const std::vector<WorldPtr> worlds = fake_device_worlds(1, true);
  worlds[0]->bind_thread();
  const ModelConfig config = tiny_config();
  Trainer trainer(std::make_shared<DeviceMesh>(worlds[0], MeshSpec{.dp_shard = 1}), config, "",
                  tiny_options());
  const std::vector<PackedBatch> both = {documents_batch(1, 4, config.vocab_size),
                                         documents_batch(5, 4, config.vocab_size)};
  trainer.forward_backward(both);
  std::map<std::string, at::Tensor> expected;
  for (const std::string& name : trainer.parameter_names()) expected[name] = trainer.gradient(name);
  trainer.zero_grad();
  const int64_t labels = both[0].label_count + both[1].label_count;
  for (const PackedBatch& one : both) trainer.forward_backward({one}, labels);
  for (const auto& [name, whole] : expected)
    EXPECT_LT(relative_error(trainer.gradient(name), whole, 1e-6), 1e-5) << name;
  trainer.optimizer_step();
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
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
