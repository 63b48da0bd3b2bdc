// The search for meshes: which of all ways to spread a job over a cluster fit into its memory and take the
// least time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "models/model.h"
#include "simulate/cluster.h"
#include "train/plan.h"
#include "train/plan_time.h"

namespace tessera {

/// What the search may choose from. An empty list stands for all values that make sense; one with a single
/// value fixes it.
struct SearchSpace {
  std::vector<int64_t> pp, dp_replicate, dp_shard, cp, tp, ep;
  std::vector<int64_t> micro_batch;
  std::vector<Recompute> recompute;
  std::vector<PipelineOptions> pipelines;  ///< schedules for pp > 1
  std::vector<bool> defer_gradient_sync;
  std::vector<bool> sequence_parallel;
  std::vector<ReshardPolicy> reshard;
};

struct SearchOptions {
  int world = 1;
  int64_t global_batch = 0;  ///< rows; 0: chosen, so that every rank has work
  int64_t seq_len = 1024;
  int64_t top = 10;
  bool shared_memory = false;  ///< StepShape::shared_memory
  TrainerOptions base;         ///< whatever the space says nothing about
  SearchSpace space;
};

/// One way to run the job.
struct PlanCandidate {
  MeshSpec mesh;
  int64_t micro_batch = 1;
  int64_t microbatches = 1;
  TrainerOptions options;
  StepTime time;
  MemoryEstimate memory;  ///< of the fullest pp rank
};

struct SearchReport {
  Cluster cluster;
  int world = 1;
  int64_t parameters = 0;
  int64_t global_batch = 0;
  int64_t seq_len = 0;
  int64_t considered = 0;           ///< ways that divide evenly, timed by formulas
  int64_t fitting = 0;              ///< of them, those that fit by formulas
  int64_t walked = 0;               ///< of them, those whose programs were compiled and walked
  std::vector<PlanCandidate> best;  ///< by time, the fastest first; one for each mesh
  /// When nothing fits: the one that needs the least memory.
  std::optional<PlanCandidate> smallest;
};

/// Every mesh (pp, dp_replicate, dp_shard, cp, tp, ep) of the world with every recompute mode, micro-batch,
/// schedule and storage policy of the space is timed and sized by formulas; those that look best are planned
/// (plan_training) and their programs walked (time_plan). Long steps are walked over fewer micro-batches and
/// carried on, since every further round of a pipeline takes as long as the one before. Errors (argument):
/// what the space fixes divides neither world nor batch.
SearchReport search_plans(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster);

/// The time and memory of one candidate, as search_plans finds them. Errors: those of plan_training.
PlanCandidate evaluate_plan(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster,
                            PlanCandidate candidate);

/// A table for a person.
std::string to_text(const SearchReport& report);
/// One JSON object: cluster, model, counts, and "plans", each with its mesh, recipe keys, time and memory.
std::string to_json(const SearchReport& report);

/// The cluster that a recipe names; "here" is measured with as many rank threads as `world` asks for and the
/// machine has cores. Errors: those of find_cluster; argument when the key is not set.
Cluster plan_cluster(const Config& config, int64_t world);

/// The search that a recipe asks for on `world` ranks: the keys that it sets are kept, the others searched.
SearchOptions search_options(const Config& config, int64_t world);

}  // namespace tessera
