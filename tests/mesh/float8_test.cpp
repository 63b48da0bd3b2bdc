// Training with float8 products: every recipe, on meshes, with recomputation and split backwards, and on
// devices.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "parallel/float8_weights.h"
#include "support/fake_device.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using kernels::Float8Recipe;

TrainingRun float8_run(Float8Recipe recipe) {
  TrainingRun run;
  run.config = tiny_config();
  run.config.hidden_size = 64;
  run.config.intermediate_size = 96;
  run.config.head_dim = 16;
  run.config.initializer_range = 0.08;  // as much as models start with, for this width
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.lr = 0.1;
  run.options.float8.recipe = recipe;
  run.mesh.dp_shard = 1;
  return run;
}

/// Losses within `tolerance` of each other, relatively.
void expect_close(const TrainingOutcome& actual, const TrainingOutcome& expected, double tolerance) {
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], tolerance * expected.losses[s]) << "step " << s + 1;
    EXPECT_NEAR(actual.norms[s], expected.norms[s], 20 * tolerance * expected.norms[s]) << "step " << s + 1;
  }
}

TEST(Float8Training, EveryRecipeIsNearFloat32AndIsNotFloat32) {
  const TrainingOutcome exact = train(float8_run(Float8Recipe::none));
  for (const Float8Recipe recipe :
       {Float8Recipe::tensorwise, Float8Recipe::rowwise, Float8Recipe::rowwise_with_gw_hp}) {
    const TrainingOutcome outcome = train(float8_run(recipe));
    expect_close(outcome, exact, 5e-3);
    EXPECT_NE(outcome.losses[0], exact.losses[0]);
    const double error = worst_error(outcome.gradients, exact.gradients);
    EXPECT_LT(error, 0.4);  // of the worst parameter, in Frobenius norm
    EXPECT_GT(error, 1e-3);
  }
}

TEST(Float8Training, ShardingChangesNothingThatRowsDoNotShare) {
  // Weights are scaled as a whole after they were gathered, activations and their gradients by row.
  TrainingRun run = float8_run(Float8Recipe::rowwise_with_gw_hp);
  const TrainingOutcome one_rank = train(run);
  for (const int ranks : {2, 4}) {
    run.mesh = {.dp_shard = ranks};
    run.ranks = ranks;
    expect_close(train(run), one_rank, 2e-4);
  }
}

TEST(Float8Training, EveryAxisTrains) {
  for (const Float8Recipe recipe : {Float8Recipe::tensorwise, Float8Recipe::rowwise}) {
    const TrainingOutcome one_rank = train(float8_run(recipe));
    for (const MeshSpec& mesh : {MeshSpec{.dp_shard = 4}, MeshSpec{.dp_shard = 1, .tp = 2},
                                 MeshSpec{.dp_shard = 1, .cp = 2}, MeshSpec{.pp = 2, .dp_shard = 1}}) {
      TrainingRun run = float8_run(recipe);
      run.mesh = mesh;
      run.ranks = static_cast<int>(mesh.pp * mesh.dp_shard * mesh.cp * mesh.tp);
      run.microbatches = mesh.pp > 1 ? 4 : 1;
      expect_close(train(run), one_rank, 5e-3);
    }
  }
}

TEST(Float8Training, RecomputationAndSplitBackwardsGiveTheSameBits) {
  TrainingRun run = float8_run(Float8Recipe::rowwise);
  run.mesh = {.pp = 2, .dp_shard = 1};
  run.ranks = 2;
  run.microbatches = 4;
  const TrainingOutcome expected = train(run);
  run.options.pipeline.schedule = PipelineSchedule::zero_bubble;
  expect_close(train(run), expected, 1e-6);
  run.options.recompute = Recompute::full;
  run.options.pipeline.schedule = PipelineSchedule::one_f_one_b;
  EXPECT_TRUE(identical(train(run), expected));
}

TEST(Float8Training, OnDevices) {
  for (const Float8Recipe recipe :
       {Float8Recipe::tensorwise, Float8Recipe::rowwise, Float8Recipe::rowwise_with_gw_hp}) {
    TrainingRun run = float8_run(recipe);
    const TrainingOutcome expected = train(run);
    run.mesh = {.dp_shard = 2};
    run.ranks = 2;
    run.on = TrainingRun::On::device_nccl;
    expect_close(train(run), expected, 5e-3);
    for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
  }
}

TEST(Float8Training, GatheringInFloat8GivesTheSameBits) {
  struct Case {
    MeshSpec mesh;
    int microbatches;
    ReshardPolicy reshard;
  };
  using Kind = ReshardPolicy::Kind;
  const std::vector<Case> cases = {
      {{.dp_shard = 2}, 2, {Kind::always, 0}},
      {{.dp_shard = 3}, 1, {Kind::never, 0}},
      {{.dp_shard = 4}, 1, {Kind::group, 2}},
      {{.dp_replicate = 2, .dp_shard = 2}, 1, {Kind::always, 0}},
      {{.dp_shard = 2, .tp = 2}, 1, {Kind::always, 0}},
      {{.pp = 2, .dp_shard = 2}, 4, {Kind::always, 0}},
  };
  for (const auto& [mesh, microbatches, reshard] : cases) {
    TrainingRun run = float8_run(Float8Recipe::tensorwise);
    run.mesh = mesh;
    run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.tp);
    run.microbatches = microbatches;
    run.options.reshard = reshard;
    run.options.copy_weights = true;
    const TrainingOutcome expected = train(run);
    run.options.float8.fsdp_all_gather = true;
    EXPECT_TRUE(identical(train(run), expected)) << run.ranks << " ranks";
    run.options.copy_weights = false;  // ranks share memory: nothing is gathered
    EXPECT_TRUE(identical(train(run), expected)) << run.ranks << " ranks";
  }
}

TEST(Float8Training, GatheringInFloat8OnDevices) {
  TrainingRun run = float8_run(Float8Recipe::tensorwise);
  run.mesh = {.dp_shard = 2};
  run.ranks = 2;
  run.options.precision.param = at::kBFloat16;
  run.on = TrainingRun::On::device_nccl;
  const TrainingOutcome expected = train(run);
  run.options.float8.fsdp_all_gather = true;
  EXPECT_TRUE(identical(train(run), expected));
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(Float8Training, GatheringInFloat8NeedsOneScaleATensor) {
  TrainingRun run = float8_run(Float8Recipe::rowwise);
  run.options.float8.fsdp_all_gather = true;
  EXPECT_THROW(train(run), Error);
  run.options.float8.recipe = Float8Recipe::none;
  EXPECT_THROW(train(run), Error);
}

// One unit with two weights, of which the last ranks have fewer rows, or none.
TEST(Float8Weights, AreTheBytesOfTheWholeWeightsCast) {
  constexpr int kRanks = 4;
  std::vector<at::Tensor> whole = {at::arange(-70, 90, at::kFloat).view({10, 16}).mul_(0.37),
                                   at::arange(48, at::kFloat).view({3, 16}).sub_(11.3)};
  for (const bool with_nan : {false, true}) {
    if (with_nan) whole[1].select(0, 2).select(0, 5).fill_(std::numeric_limits<float>::quiet_NaN());
    run_ranks(kRanks, [&](const WorldPtr& world) {
      FsdpLayout layout;
      for (const at::Tensor& weight : whole) {
        FsdpParam param;
        param.part_shape = weight.sizes().vec();
        param.shards = kRanks;
        param.shard = row_shard(param.part_shape, world->rank(), kRanks);
        layout.params.push_back(param);
      }
      const std::vector<FsdpLayout> layouts =
          select_params({layout}, [](const FsdpParam& param) { return param.held; });
      const auto weights = make_float8_weights(world->everyone(), layouts, {.force_copy = true});
      for (size_t p = 0; p < whole.size(); ++p) {
        const RowShard& rows = layouts[0].params[p].shard;
        weights->own_chunk(0, p).copy_(whole[p].narrow(0, rows.first_row, rows.rows).reshape({-1}));
      }
      weights->publish();
      weights->gather(0);
      weights->wait(0);
      for (size_t p = 0; p < whole.size(); ++p) {
        const kernels::Float8Matrix want =
            kernels::to_float8(whole[p], at::kFloat8_e4m3fn, kernels::Float8Axis::all, false);
        const at::Tensor got = layouts[0].params[p].weight(weights->full(0));
        EXPECT_TRUE(at::equal(weights->scale(0, p), want.scale) || (with_nan && p == 1));
        const int mask = with_nan ? 0x7f : 0xff;  // NaN has either sign
        EXPECT_TRUE(at::equal(got.bitwise_and(mask), want.values.view(at::kByte).bitwise_and(mask)));
      }
      weights->release(0);
    });
  }
}

TEST(Float8Training, FilteredLayersStay) {
  const TrainingOutcome exact = train(float8_run(Float8Recipe::none));
  TrainingRun run = float8_run(Float8Recipe::rowwise);
  const TrainingOutcome all = train(run);
  run.options.float8.filter_fqns = {"self_attn", "layers.0."};
  const TrainingOutcome some = train(run);
  EXPECT_NE(some.losses[0], all.losses[0]);
  EXPECT_NE(some.losses[0], exact.losses[0]);
  run.options.float8.filter_fqns = {"proj"};
  EXPECT_THROW(train(run), Error);
  run = float8_run(Float8Recipe::rowwise);
  run.config.hidden_size = 24;  // no multiple of 16
  EXPECT_THROW(train(run), Error);
}

}  // namespace
}  // namespace tessera::testing
