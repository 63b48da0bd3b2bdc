// Weights that rest as masters and are cast when they are gathered: what is trained is the same to the last
// bit.
#include <gtest/gtest.h>

#include "core/error.h"
#include "support/fake_device.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

struct CastCase {
  const char* name;
  MeshSpec mesh;
  int ranks = 1;
  int microbatches = 1;
  TrainerOptions options = tiny_options();
  bool tied = false;
};

TrainingRun run_of(const CastCase& c) {
  TrainingRun run;
  run.config = tiny_config(c.tied);
  run.mesh = c.mesh;
  run.ranks = c.ranks;
  run.microbatches = c.microbatches;
  run.options = c.options;
  run.options.precision.param = at::kBFloat16;
  run.options.copy_weights = true;
  return run;
}

void expect_the_same(const TrainingRun& kept, const char* name) {
  SCOPED_TRACE(name);
  TrainingRun run = kept;
  run.options.cast_weights = false;
  const TrainingOutcome expected = train(run);
  run.options.cast_weights = true;
  EXPECT_TRUE(identical(train(run), expected));
}

TrainerOptions with(ReshardPolicy::Kind kind, int64_t group = 0) {
  TrainerOptions options = tiny_options();
  options.reshard = {kind, group};
  return options;
}

std::vector<CastCase> cases() {
  TrainerOptions full = tiny_options();
  full.recompute = Recompute::full;
  TrainerOptions units = tiny_options();
  units.units.kind = UnitPolicy::Kind::size;
  units.units.min_parameters = 5000;
  return {{"one rank", {.dp_shard = 1}, 1, 2, tiny_options(), true},
          {"one rank, recomputed", {.dp_shard = 1}, 1, 1, full},
          {"shards", {.dp_shard = 4}, 4, 2},
          {"shards of large units", {.dp_shard = 2}, 2, 1, units, true},
          {"gathered once", {.dp_shard = 2}, 2, 1, with(ReshardPolicy::Kind::never)},
          {"resharded to 2", {.dp_shard = 4}, 4, 1, with(ReshardPolicy::Kind::group, 2)},
          {"replicas", {.dp_replicate = 2, .dp_shard = 2}, 4},
          {"stages", {.pp = 2, .dp_shard = 2}, 4, 4},
          {"tensors", {.dp_shard = 1, .tp = 2}, 2}};
}

TEST(CastWeights, TrainAsWeightsThatAreKept) {
  for (const CastCase& c : cases()) expect_the_same(run_of(c), c.name);
}

TEST(CastWeights, TrainAsWeightsThatAreKeptOnDevices) {
  for (const CastCase& c : cases()) {
    TrainingRun run = run_of(c);
    run.on = TrainingRun::On::device_nccl;
    expect_the_same(run, c.name);
  }
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(CastWeights, ComeInFloat8AsBefore) {
  TrainingRun run = run_of({"", {.dp_shard = 2}, 2});
  run.config.hidden_size = 32;
  run.config.intermediate_size = 48;
  run.config.num_heads = 4;
  run.config.head_dim = 16;
  for (const auto recipe : {kernels::Float8Recipe::tensorwise, kernels::Float8Recipe::rowwise}) {
    run.options.float8.recipe = recipe;
    for (const bool gathered : {false, true}) {
      run.options.float8.fsdp_all_gather = gathered && recipe == kernels::Float8Recipe::tensorwise;
      expect_the_same(run, gathered ? "gathered" : "cast");
    }
  }
}

TEST(CastWeights, OfRanksThatShareMemoryAreKept) {
  TrainingRun run = run_of({"", {.dp_shard = 2}, 2});
  run.options.copy_weights = false;
  expect_the_same(run, "shared");
}

TEST(CastWeights, DoNotGoWithOffloading) {
  TrainingRun run = run_of({"", {.dp_shard = 1}});
  run.options.offload = true;
  run.options.cast_weights = true;
  EXPECT_THROW(train(run), Error);
}

}  // namespace
}  // namespace tessera::testing
