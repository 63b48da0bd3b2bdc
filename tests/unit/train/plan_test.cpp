// Plans: shapes of steps, memory that agrees with what units really keep, and text for a person.
#include "train/plan.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "support/single_rank.h"
#include "support/training_run.h"
#include "train/plan_timeline.h"

namespace tessera::testing {
namespace {

TEST(TrainPlan, StepShapeCountsRowsAsTheRecipeDoes) {
  const Mesh mesh(MeshSpec{1, 2, 4}, 8);
  const StepShape shape = step_shape(mesh, 64, 2, 512);
  EXPECT_EQ(shape.microbatches, 4);
  EXPECT_EQ(shape.tokens, 1024);
  try {
    step_shape(mesh, 24, 2, 512);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "global_batch=24 is not a multiple of micro_batch*dp=2*8");
  }
}

TEST(TrainPlan, ActivationsAreThoseThatUnitsKeep) {
  for (bool qk_norm : {false, true}) {
    for (Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      ModelConfig config = tiny_config();
      config.qk_norm = qk_norm;
      SingleRankModel model(config, at::kFloat, true);
      const PackedBatch batch = random_batch({16}, config.vocab_size, 1);
      model.forward_backward(batch, 1.0, recompute);

      TrainerOptions options = tiny_options();
      options.recompute = recompute;
      const StepShape shape{1, 16, true};
      const TrainingPlan plan = plan_training(config, options, Mesh(MeshSpec{}, 1), shape);
      int64_t kept = 0;
      for (const PlannedUnit& unit : plan.units) {
        kept += recompute == Recompute::full ? unit.sizes.input_bytes : unit.sizes.saved_bytes;
      }
      EXPECT_EQ(kept, model.saved_bytes())
          << "qk_norm=" << qk_norm << " recompute=" << static_cast<int>(recompute);
    }
  }
}

TEST(TrainPlan, ShardsDivideWhatAllRanksHold) {
  const ModelConfig config = tiny_config();
  TrainerOptions options = tiny_options();
  options.precision.param = at::kBFloat16;
  StepShape shape{1, 64, false};
  const MemoryEstimate one = plan_training(config, options, Mesh(MeshSpec{}, 1), shape).memory;
  const MemoryEstimate four = plan_training(config, options, Mesh(MeshSpec{}, 4), shape).memory;
  EXPECT_NEAR(static_cast<double>(four.optimizer), static_cast<double>(one.optimizer) / 4,
              0.1 * one.optimizer);
  EXPECT_NEAR(static_cast<double>(four.masters), static_cast<double>(one.masters) / 4, 0.1 * one.masters);
  EXPECT_EQ(four.activations, one.activations);
  EXPECT_EQ(one.gathered, 0);
  EXPECT_GT(four.gathered, 0);
  shape.shared_memory = true;
  EXPECT_EQ(plan_training(config, options, Mesh(MeshSpec{}, 4), shape).memory.gathered, 0);
}

TEST(TrainPlan, PoliciesMoveMemoryTheWayTheyPromise) {
  ModelConfig config = tiny_config();
  config.num_layers = 12;
  config.sliding_window.assign(12, 0);
  const Mesh mesh(MeshSpec{}, 8);
  const StepShape shape{2, 256, false};
  const auto memory = [&](const TrainerOptions& options) {
    return plan_training(config, options, mesh, shape).memory;
  };
  TrainerOptions options = tiny_options();
  const MemoryEstimate base = memory(options);
  options.reshard.kind = ReshardPolicy::Kind::never;
  EXPECT_GT(memory(options).gathered, 3 * base.gathered);
  options = tiny_options();
  options.recompute = Recompute::full;
  EXPECT_LT(memory(options).activations, base.activations / 4);
  options = tiny_options();
  options.defer_gradient_sync = false;
  EXPECT_LT(memory(options).buffers, base.buffers / 2);
}

TEST(TrainPlan, ALargeModelIsPlannedWithoutMemory) {
  ModelConfig config = tiny_config();
  config.hidden_size = 16384;
  config.intermediate_size = 53248;
  config.num_layers = 126;
  config.num_heads = 128;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.vocab_size = 128256;
  config.sliding_window.assign(126, 0);
  TrainerOptions options;
  options.recompute = Recompute::full;
  const TrainingPlan plan =
      plan_training(config, options, Mesh(MeshSpec{1, 2, 512}, 1024), StepShape{4, 8192, false});
  EXPECT_NEAR(static_cast<double>(plan.parameters), 405.9e9, 0.2e9);
  EXPECT_EQ(plan.units.size(), 128U);
  const std::string text = to_text(plan);
  EXPECT_NE(text.find("405.85 B parameters in 128 units"), std::string::npos) << text;
  EXPECT_NE(text.find("u1..u126"), std::string::npos) << text;
}

TEST(TrainPlan, ATimelineCountsInForwardsOfAMeanStage) {
  ModelConfig config = tiny_config();
  config.num_layers = 7;
  config.sliding_window.assign(7, 0);
  TrainerOptions options = tiny_options();
  for (const int pp : {1, 2, 4}) {
    MeshSpec spec;
    spec.pp = pp;
    const TrainingPlan plan = plan_training(config, options, Mesh(spec, pp), StepShape{6, 64, false});
    TimelineRates rates;
    const Timeline timeline = plan_timeline(plan, rates);
    ASSERT_EQ(timeline.ranks.size(), static_cast<size_t>(pp));
    double computing = 0;
    for (const RankTime& rank : timeline.ranks) computing += rank.computing;
    EXPECT_NEAR(computing, pp * 6 * 3.0, 1e-9) << "a forward and a backward of two";
    EXPECT_GE(timeline.length, 6 * 3.0 - 1e-9);
    if (pp == 1) {
      EXPECT_NEAR(timeline.bubble(), 0, 1e-12);
    }
    rates.backward = 4;
    EXPECT_GT(plan_timeline(plan, rates).length, timeline.length);
    rates = {2, 0.5, 0.25};
    EXPECT_GT(plan_timeline(plan, rates).length, timeline.length);
    const std::string title = timeline_title(plan, rates);
    EXPECT_NE(title.find("6 micro-batches; backward 2 forwards"), std::string::npos) << title;
    EXPECT_EQ(title.find("1f1b over pp=") != std::string::npos, pp > 1) << title;
    rates.transfer = -1;
    EXPECT_THROW(plan_timeline(plan, rates), Error);
    rates = {2, -1, 0};
    EXPECT_THROW(plan_timeline(plan, rates), Error);
  }
}

TEST(TrainPlan, RefusesWhatTheTrainerRefuses) {
  MeshSpec spec;
  spec.tp = 3;
  EXPECT_THROW(plan_training(tiny_config(), tiny_options(), Mesh(spec, 3), StepShape{}), Error);
}

}  // namespace
}  // namespace tessera::testing
