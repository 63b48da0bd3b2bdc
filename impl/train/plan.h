// What a job will do, before anything is loaded or connected: units, program, memory per rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mesh/mesh.h"
#include "models/model.h"
#include "schedule/checker.h"
#include "schedule/memory_estimate.h"
#include "schedule/program.h"
#include "simulate/layer_shape.h"
#include "train/trainer.h"

namespace tessera {

/// A step as it will be: micro-batches of one rank, and the tokens of each.
struct StepShape {
  int64_t microbatches = 1;
  int64_t tokens = 1024;
  bool shared_memory = true;  ///< the ranks of a group sit on one host and share weights (local engine)
  int64_t document = 0;       ///< tokens of one document over all cp ranks; 0: those of the micro-batch
  bool on_device = false;     ///< ranks compute on GPUs
};

/// Rows as the recipe counts them. Errors (argument): global_batch is no multiple of micro_batch * dp.
StepShape step_shape(const Mesh& mesh, int64_t global_batch, int64_t micro_batch, int64_t seq_len);

struct PlannedUnit {
  std::string name;  ///< of its first member
  int members = 1;
  int64_t parameters = 0;
  int stage_rank = 0;  ///< the pp coordinate that holds it
  double work = 0;     ///< on a token, in the measure of unit_work (train/pipeline.h)
  UnitSizes sizes;
};

struct TrainingPlan {
  Mesh mesh;
  std::vector<PlannedUnit> units;
  int64_t parameters = 0;
  StepShape shape;
  Program program;                ///< of pp rank `pp_rank`, checked
  std::vector<Program> programs;  ///< of all pp ranks
  std::vector<int> stage_starts;  ///< the first unit of each pipeline stage
  std::string schedule;           ///< of the pipeline, "1f1b"
  CheckReport report;
  MemoryEstimate memory;              ///< of the rank with the largest shards in the fullest stages
  std::vector<int64_t> stage_memory;  ///< peak bytes by pp rank
  int pp_rank = 0;                    ///< the fullest
  std::string tp_plan;                ///< with tp: the plan and why it was chosen, for a person
};

/// How a job's ranks cut layers.
LayerCut layer_cut(const Mesh& mesh, const TrainerOptions& options);

/// Errors: what Trainer would refuse for the same options.
TrainingPlan plan_training(const ModelConfig& config, const TrainerOptions& options, const Mesh& mesh,
                           const StepShape& shape);

/// A table for a person: mesh, units, the step, memory.
std::string to_text(const TrainingPlan& plan);

}  // namespace tessera
