// Every mesh, policy and split gives the numbers of one rank.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/error.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

// One rank, everything in one micro-batch: what all others must give.
const TrainingOutcome& one_rank(bool tied) {
  static std::map<bool, TrainingOutcome> outcomes;
  const auto found = outcomes.find(tied);
  if (found != outcomes.end()) return found->second;
  TrainingRun run;
  run.config = tiny_config(tied);
  run.options = tiny_options();
  return outcomes.emplace(tied, train(run)).first->second;
}

void expect_same(const TrainingRun& run, const std::string& what) {
  SCOPED_TRACE(what);
  expect_outcome(run, one_rank(run.config.tie_embeddings), 5e-6);
}

TrainingRun job(int replicate, int shard, bool tied = false) {
  TrainingRun run;
  run.config = tiny_config(tied);
  run.options = tiny_options();
  run.mesh.dp_replicate = replicate;
  run.mesh.dp_shard = shard;
  run.ranks = replicate * shard;
  return run;
}

TEST(OneRank, LearnsAndIsFinite) {
  const TrainingOutcome& outcome = one_rank(false);
  EXPECT_NEAR(outcome.losses[0], std::log(37.0), 0.6);
  for (double norm : outcome.norms) EXPECT_GT(norm, 0.01);
  EXPECT_GT(outcome.label_tokens[0], 20);
}

TEST(Meshes, EveryShapeUpToEightRanksGivesTheOneRankResult) {
  for (bool tied : {false, true}) {
    for (int ranks : {1, 2, 4, 8}) {
      for (int replicate = 1; replicate <= ranks; replicate *= 2) {
        expect_same(job(replicate, ranks / replicate, tied),
                    cat("dp_replicate=", replicate, " dp_shard=", ranks / replicate, " tied=", tied));
      }
    }
  }
}

TEST(Meshes, RankCountsThatAreNoPowersOfTwo) {
  expect_same(job(1, 3), "dp_shard=3");
  expect_same(job(1, 5), "dp_shard=5");
  expect_same(job(3, 2), "dp_replicate=3 dp_shard=2");
}

TEST(Meshes, SplitsIntoMicrobatches) {
  for (bool defer : {true, false}) {
    for (int microbatches : {2, 3, 5}) {
      for (const auto& [replicate, shard] : {std::pair{1, 1}, {1, 4}, {2, 2}}) {
        TrainingRun run = job(replicate, shard, true);
        run.microbatches = microbatches;  // 5 of 4 documents: one is empty
        run.options.defer_gradient_sync = defer;
        expect_same(run, cat(replicate, "x", shard, " microbatches=", microbatches, " defer=", defer));
      }
    }
  }
}

TEST(Meshes, RanksWithoutAnyTokensTakePart) {
  for (const bool tied : {false, true}) {
    TrainingRun run = job(1, 8, tied);
    run.documents = 5;
    TrainingRun alone = job(1, 1, tied);
    alone.documents = 5;
    const TrainingOutcome expected = train(alone);
    const TrainingOutcome actual = train(run);
    EXPECT_LT(worst_error(actual.gradients, expected.gradients), 5e-6) << "tied=" << tied;
    EXPECT_LT(worst_error(actual.weights, expected.weights), 2e-5) << "tied=" << tied;
  }
}

TEST(Meshes, ReshardPoliciesAndPrefetch) {
  using Kind = ReshardPolicy::Kind;
  for (bool copy : {false, true}) {
    for (const ReshardPolicy& policy : {ReshardPolicy{Kind::always, 0}, ReshardPolicy{Kind::never, 0},
                                        ReshardPolicy{Kind::keep_last, 0}, ReshardPolicy{Kind::group, 2}}) {
      for (int prefetch : {0, 2}) {
        TrainingRun run = job(1, 4, true);
        run.options.reshard = policy;
        run.options.prefetch = prefetch;
        run.options.copy_weights = copy;
        run.microbatches = 2;
        expect_same(run,
                    cat("copy=", copy, " reshard=", static_cast<int>(policy.kind), " prefetch=", prefetch));
      }
    }
  }
}

TEST(Meshes, UnitPolicies) {
  for (bool tied : {false, true}) {
    for (const UnitPolicy& policy :
         {UnitPolicy{UnitPolicy::Kind::size, 5000, {}}, UnitPolicy{UnitPolicy::Kind::size, 1'000'000, {}},
          UnitPolicy{UnitPolicy::Kind::names, 0, {"*layers.1"}}}) {
      for (Recompute recompute : {Recompute::none, Recompute::full}) {
        TrainingRun run = job(1, 2, tied);
        run.options.units = policy;
        run.options.recompute = recompute;
        expect_same(run, cat("tied=", tied, " units=", static_cast<int>(policy.kind), "/",
                             policy.min_parameters, " recompute=", static_cast<int>(recompute)));
      }
    }
  }
}

TEST(Meshes, RecomputeModesAndOffload) {
  for (Recompute recompute : {Recompute::selective, Recompute::mlp, Recompute::full}) {
    TrainingRun run = job(2, 2, true);
    run.options.recompute = recompute;
    run.options.offload = true;
    run.microbatches = 2;
    expect_same(run, cat("recompute=", static_cast<int>(recompute)));
  }
}

TEST(Meshes, SharedAndCopiedWeightsGiveTheSameBits) {
  for (at::ScalarType param : {at::kFloat, at::kBFloat16}) {
    for (const auto& [replicate, shard] : {std::pair{1, 4}, {2, 2}, {1, 3}}) {
      TrainingRun run = job(replicate, shard, true);
      run.options.precision.param = param;
      run.microbatches = 2;
      const TrainingOutcome shared = train(run);
      run.options.copy_weights = true;
      EXPECT_TRUE(identical(train(run), shared)) << replicate << "x" << shard;
    }
  }
}

TEST(Meshes, TheSameRunTwiceGivesTheSameBits) {
  const TrainingRun run = job(2, 2, true);
  EXPECT_TRUE(identical(train(run), train(run)));
}

TEST(Meshes, Bfloat16StaysCloseToFloat32) {
  for (at::ScalarType reduce : {at::kFloat, at::kBFloat16}) {
    for (int microbatches : {1, 4}) {
      TrainingRun run = job(1, 4);
      run.options.precision.param = at::kBFloat16;
      run.options.precision.reduce = reduce;
      run.microbatches = microbatches;
      const TrainingOutcome actual = train(run);
      const TrainingOutcome& expected = one_rank(false);
      for (size_t s = 0; s < expected.losses.size(); ++s)
        EXPECT_NEAR(actual.losses[s], expected.losses[s], 0.03);
      EXPECT_LT(worst_error(actual.gradients, expected.gradients), 0.05);
    }
  }
}

TEST(Meshes, MasterWeightsKeepWhatBfloat16Drops) {
  TrainingRun run = job(1, 2);
  run.options.precision.param = at::kBFloat16;
  run.options.lr = 1e-5;  // far below half a bfloat16 step of weights around 0.2
  run.steps = 4;
  TrainingRun start = run;
  start.steps = 0;
  const TrainingOutcome before = train(start);
  const auto moved = [&](const TrainingOutcome& after) { return worst_error(after.weights, before.weights); };
  EXPECT_GT(moved(train(run)), 1e-5);
  run.options.precision.master = at::kBFloat16;
  start.options.precision.master = at::kBFloat16;
  EXPECT_EQ(worst_error(train(run).weights, train(start).weights) < 1e-3, true);
}

}  // namespace
}  // namespace tessera::testing
