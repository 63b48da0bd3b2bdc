// Training with float8 products: every recipe, on meshes, with recomputation and split backwards, and on
// devices.
#include <gtest/gtest.h>

#include "core/error.h"
#include "support/fake_device.h"
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
