// The time that a step reports as communication is counted by what it was for.
#include <gtest/gtest.h>

#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

/// What rank 0 reports for one step.
StepMetrics step_on(const MeshSpec& mesh, int ranks) {
  TrainingRun run;
  run.config = tiny_config();
  run.options = tiny_options();
  run.mesh = mesh;
  run.ranks = ranks;
  StepMetrics metrics;
  run_ranks(ranks, [&](const WorldPtr& world) {
    const auto device_mesh = std::make_shared<DeviceMesh>(world, run.mesh);
    Trainer trainer(device_mesh, run.config, "", run.options);
    const StepMetrics mine = trainer.step(step_batches(run, 0, static_cast<int>(device_mesh->index("dp")),
                                                       static_cast<int>(device_mesh->size("dp"))));
    if (world->rank() == 0) metrics = mine;
  });
  const ExposedSeconds& e = metrics.exposed;
  EXPECT_DOUBLE_EQ(metrics.communication_seconds, e.dp + e.tp + e.cp + e.pp + e.step);
  EXPECT_LE(metrics.communication_seconds, metrics.seconds);
  EXPECT_GT(e.step, 0);
  return metrics;
}

MeshSpec mesh(int pp, int shard, int cp, int tp) {
  MeshSpec spec;
  spec.pp = pp;
  spec.dp_shard = shard;
  spec.cp = cp;
  spec.tp = tp;
  return spec;
}

TEST(ExposedTime, IsCountedByTheAxisItIsFor) {
  const ExposedSeconds tp = step_on(mesh(1, 1, 1, 2), 2).exposed;
  EXPECT_GT(tp.tp, 0);
  EXPECT_EQ(tp.cp, 0);
  EXPECT_EQ(tp.pp, 0);
  const ExposedSeconds cp = step_on(mesh(1, 1, 2, 1), 2).exposed;
  EXPECT_GT(cp.cp, 0);
  EXPECT_GT(cp.dp, 0) << "weights are sharded over dp_shard x cp";
  EXPECT_EQ(cp.tp, 0);
  EXPECT_EQ(cp.pp, 0);
  const ExposedSeconds pp = step_on(mesh(2, 1, 1, 1), 2).exposed;
  EXPECT_GT(pp.pp, 0);
  EXPECT_EQ(pp.tp + pp.cp, 0);
}

}  // namespace
}  // namespace tessera::testing
