// The memory that a plan promises against what real runs allocate, on meshes of rank threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "support/memory_meter.h"
#include "support/rank_threads.h"
#include "support/single_rank.h"
#include "support/training_run.h"
#include "train/plan.h"

namespace tessera::testing {
namespace {

constexpr double kTolerance = 0.05;

struct MemoryCase {
  const char* name;
  MeshSpec mesh;
  int ranks = 1;
  int64_t microbatches = 1;
  bool wide = false;  // float32 instead of bfloat16
  TrainerOptions options;
  int64_t tokens = 256;  // of a micro-batch's one document
  bool tied = false;
  bool gemma = false;   // norms behind the blocks and on the heads
  int64_t experts = 0;  // in all layers but the first, beside one that all tokens pass
  bool latent = false;  // DeepSeek's attention
};

ModelConfig small_config(bool tied) {
  ModelConfig config = tiny_config(tied);
  config.vocab_size = 1024;
  config.hidden_size = 192;
  config.intermediate_size = 512;
  config.num_layers = 6;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 24;
  config.sliding_window.assign(6, 0);
  config.initializer_range = 0.02;
  return config;
}

void add_experts(ModelConfig& config, int64_t experts) {
  config.moe.experts = experts;
  config.moe.intermediate_size = 128;
  config.moe.shared_intermediate_size = 128;
  config.moe.routing.top_k = 2;
  config.moe.layers.assign(config.num_layers, true);
  config.moe.layers[0] = false;
}

void add_latents(ModelConfig& config) {
  config.latent.q_rank = 96;
  config.latent.kv_rank = 64;
  config.latent.plain_dim = 24;
  config.latent.rope_dim = 16;
  config.latent.value_dim = 32;
  config.head_dim = 40;
  config.num_kv_heads = config.num_heads;
}

// Ranks over gloo share no memory: everything that they hold are tensors of their own, which can be counted.
void run_gloo(int size, const std::function<void(const WorldPtr&)>& body) {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / cat("tessera-plan-memory-", ::getpid());
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  run_connected(size, cat("file://", (directory / "rendezvous").string()), body, "gloo");
  std::filesystem::remove_all(directory);
}

/// Of one rank, or with -1 of all of a pipeline stage.
double mean_of_stage(const Mesh& mesh, const std::vector<int64_t>& measured, int rank, int64_t pp) {
  double sum = 0;
  int count = 0;
  for (int r = 0; r < static_cast<int>(measured.size()); ++r) {
    if (rank >= 0 ? r != rank : mesh.coordinate(r, Axis::pp) != pp) continue;
    sum += static_cast<double>(measured[r]);
    ++count;
  }
  return sum / count;
}

void compare(MemoryCase c) {
  SCOPED_TRACE(c.name);
  ModelConfig config = small_config(c.tied);
  config.sandwich_norms = config.qk_norm = c.gemma;
  if (c.experts > 0) add_experts(config, c.experts);
  if (c.latent) add_latents(config);
  c.options.precision.param = c.wide ? at::kFloat : at::kBFloat16;
  std::vector<int64_t> measured(c.ranks);
  const auto body = [&](const WorldPtr& world) {
    MemoryMeter meter;
    Trainer trainer(std::make_shared<DeviceMesh>(world, c.mesh), config, "", c.options);
    std::vector<PackedBatch> batches;
    for (int64_t m = 0; m < c.microbatches; ++m) {
      batches.push_back(random_batch({c.tokens}, config.vocab_size, static_cast<int>(m)));
    }
    trainer.step(batches);
    meter.restart_peak();
    trainer.step(batches);
    measured[world->rank()] = meter.peak();
  };
  if (c.ranks == 1) {
    run_ranks(1, body);
  } else {
    run_gloo(c.ranks, body);
  }

  const Mesh mesh(c.mesh, c.ranks);
  const int64_t cp = mesh.size(Axis::cp);
  const StepShape shape{c.microbatches, (c.tokens + cp - 1) / cp, false};
  const TrainingPlan plan = plan_training(config, c.options, mesh, shape);
  for (int rank = 0; rank < c.ranks; ++rank) {
    const int64_t pp = mesh.coordinate(rank, Axis::pp);
    // Tokens choose experts unevenly, the plan's do not: compared is the mean over the ranks of a stage.
    const double mean = mean_of_stage(mesh, measured, c.experts > 0 ? -1 : rank, pp);
    const double ratio = static_cast<double>(plan.stage_memory[pp]) / mean;
    EXPECT_NEAR(ratio, 1, kTolerance)
        << "rank " << rank << ": planned " << plan.stage_memory[pp] << " bytes, measured " << measured[rank];
  }
}

MeshSpec mesh_of(int64_t pp, int64_t replicate, int64_t shard, int64_t cp, int64_t tp) {
  return {pp, replicate, shard, cp, tp};
}

TrainerOptions with(Recompute recompute) {
  TrainerOptions options;
  options.recompute = recompute;
  return options;
}

TEST(PlanMemory, IsWhatOneRankAllocates) {
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::mlp, Recompute::full}) {
    compare({"one rank", {}, 1, 1, false, with(recompute)});
    compare({"one rank, accumulation", {}, 1, 3, true, with(recompute)});
    compare({"one rank, long", {}, 1, 1, false, with(recompute), 2048, true});
    compare({"one rank, sandwich norms", {}, 1, 1, false, with(recompute), 1024, true, true});
  }
}

TEST(PlanMemory, IsWhatShardedRanksAllocate) {
  compare({"fsdp", mesh_of(1, 1, 2, 1, 1), 2, 1, false, with(Recompute::none)});
  compare({"fsdp, recompute", mesh_of(1, 1, 4, 1, 1), 4, 2, true, with(Recompute::full)});
  compare({"hsdp", mesh_of(1, 2, 2, 1, 1), 4, 1, true, with(Recompute::selective), 256, true});
  TrainerOptions often;
  often.defer_gradient_sync = false;
  often.prefetch = 2;
  compare({"fsdp, reduced each time", mesh_of(1, 1, 2, 1, 1), 2, 3, false, often});
  TrainerOptions group;
  group.reshard = {ReshardPolicy::Kind::group, 2};
  compare({"fsdp, resharded to 2", mesh_of(1, 1, 4, 1, 1), 4, 1, false, group});
  TrainerOptions never;
  never.reshard.kind = ReshardPolicy::Kind::never;
  compare({"fsdp, kept", mesh_of(1, 1, 2, 1, 1), 2, 1, true, never});
}

TrainerOptions with_cast(Recompute recompute) {
  TrainerOptions options = with(recompute);
  options.cast_weights = true;
  return options;
}

TEST(PlanMemory, IsWhatRanksAllocateThatCastTheirWeights) {
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    compare({"one rank", {}, 1, 1, false, with_cast(recompute)});
    compare({"one rank, tied, accumulation", {}, 1, 3, false, with_cast(recompute), 1024, true});
    compare({"fsdp", mesh_of(1, 1, 2, 1, 1), 2, 2, false, with_cast(recompute)});
  }
  TrainerOptions group = with_cast(Recompute::none);
  group.reshard = {ReshardPolicy::Kind::group, 2};
  compare({"fsdp, resharded to 2", mesh_of(1, 1, 4, 1, 1), 4, 1, false, group});
  TrainerOptions never = with_cast(Recompute::full);
  never.reshard.kind = ReshardPolicy::Kind::never;
  compare({"one rank, cast once", {}, 1, 1, false, never});
  compare({"pp", mesh_of(2, 1, 1, 1, 1), 2, 4, false, with_cast(Recompute::none)});
}

TrainerOptions in_float8(kernels::Float8Recipe recipe, Recompute recompute) {
  TrainerOptions options = with(recompute);
  options.float8.recipe = recipe;
  return options;
}

TEST(PlanMemory, IsWhatLayersInFloat8Allocate) {
  using Recipe = kernels::Float8Recipe;
  for (const Recipe recipe : {Recipe::tensorwise, Recipe::rowwise, Recipe::rowwise_with_gw_hp}) {
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      compare({"one rank", {}, 1, 1, false, in_float8(recipe, recompute)});
    }
    compare({"one rank, accumulation", {}, 1, 3, false, in_float8(recipe, Recompute::none)});
    compare({"fsdp", mesh_of(1, 1, 2, 1, 1), 2, 1, false, in_float8(recipe, Recompute::none)});
  }
  TrainerOptions gathered = in_float8(Recipe::tensorwise, Recompute::none);
  gathered.float8.fsdp_all_gather = true;
  for (const bool cast : {false, true}) {
    gathered.cast_weights = cast;
    compare({"gathered in float8", mesh_of(1, 1, 2, 1, 1), 2, 1, false, gathered});
    compare({"gathered in float8, accumulation", mesh_of(1, 1, 4, 1, 1), 4, 2, false, gathered});
  }
  gathered.reshard.kind = ReshardPolicy::Kind::never;
  compare({"gathered once", mesh_of(1, 1, 2, 1, 1), 2, 1, false, gathered});
}

TEST(PlanMemory, IsWhatTensorAndContextParallelRanksAllocate) {
  TrainerOptions sequence = with(Recompute::none);
  sequence.sequence_parallel = true;
  compare({"tp", mesh_of(1, 1, 1, 1, 2), 2, 1, false, with(Recompute::selective)});
  compare({"tp, sequence parallel", mesh_of(1, 1, 1, 1, 2), 2, 2, true, sequence, 512});
  compare({"cp", mesh_of(1, 1, 1, 2, 1), 2, 1, true, with(Recompute::none), 512});
  compare({"cp, recompute", mesh_of(1, 1, 1, 2, 1), 2, 1, false, with(Recompute::full), 1024});
  compare({"fsdp, cp and tp", mesh_of(1, 1, 2, 2, 2), 8, 1, false, sequence, 1024});
}

MemoryCase with_experts(const char* name, MeshSpec mesh, int ranks, Recompute recompute) {
  MemoryCase c{name, mesh, ranks, 1, false, with(recompute), 1024};
  c.experts = 8;
  return c;
}

TEST(PlanMemory, IsWhatLayersWithExpertsAllocate) {
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    compare(with_experts("experts of one rank", {}, 1, recompute));
  }
  compare(with_experts("ep 2", {1, 1, 2, 1, 1, 2}, 2, Recompute::none));
  compare(with_experts("ep 2, shards", {1, 1, 4, 1, 1, 2}, 4, Recompute::selective));
  compare(with_experts("ep 2, tp", {1, 1, 1, 1, 2, 2}, 2, Recompute::none));
  MemoryCase cut = with_experts("tp of experts", {1, 1, 1, 1, 2, 1}, 2, Recompute::none);
  cut.options.experts.split_width = true;
  cut.options.sequence_parallel = true;
  compare(cut);
  MemoryCase stages = with_experts("pp, ep 2", {2, 1, 2, 1, 1, 2}, 4, Recompute::none);
  stages.microbatches = 2;
  compare(stages);
}

TEST(PlanMemory, IsWhatLatentAttentionAllocates) {
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    MemoryCase c = with_experts("latents", {}, 1, recompute);
    c.latent = true;
    compare(c);
  }
  MemoryCase c = with_experts("latents, tp", {1, 1, 1, 1, 2, 2}, 2, Recompute::none);
  c.latent = true;
  c.options.sequence_parallel = true;
  compare(c);
}

TEST(PlanMemory, IsWhatPipelineRanksAllocate) {
  for (const Recompute recompute : {Recompute::none, Recompute::full}) {
    for (const PipelineSchedule schedule :
         {PipelineSchedule::gpipe, PipelineSchedule::one_f_one_b, PipelineSchedule::interleaved,
          PipelineSchedule::zero_bubble, PipelineSchedule::zero_bubble_v}) {
      TrainerOptions options = with(recompute);
      options.pipeline.schedule = schedule;
      compare({std::string(schedule_name(schedule)).c_str(), mesh_of(2, 1, 1, 1, 1), 2, 4, false, options});
    }
  }
  compare({"pp and fsdp", mesh_of(2, 1, 2, 1, 1), 4, 2, true, with(Recompute::none), 256, true});
}

}  // namespace
}  // namespace tessera::testing
