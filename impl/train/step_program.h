// From a trainer's options to what the schedule compilers and the checker take: shared by Trainer and plans.
#pragma once

#include <memory>
#include <vector>

#include "mesh/mesh.h"
#include "parallel/fsdp_layout.h"
#include "schedule/checker.h"
#include "schedule/compile.h"
#include "train/pipeline.h"
#include "train/trainer.h"

namespace tessera {

/// Throws Error(unsupported | argument) naming the option that cannot be.
void check_trainer_options(const TrainerOptions& options, const Mesh& mesh, const ModelConfig& config);

/// TrainerOptions::cast_weights, decided.
bool casts_weights(const TrainerOptions& options, bool on_device);

/// Has the model's linear layers computed in float8 that can be and that options do not leave out. Before
/// weights are bound. Errors (argument): there is none.
void use_float8(const std::vector<std::unique_ptr<Unit>>& units, const Float8Options& options,
                int64_t tp_size);

StepOptions step_options(const TrainerOptions& options, const Mesh& mesh,
                         const std::vector<UnitTraits>& units, int64_t microbatches, bool update);

/// The rules that a program compiled from `step` must keep.
CheckOptions check_options(const StepOptions& step);

/// The programs of all pp ranks for a step, checked alone and against each other. `stage_units` are the
/// stages' first FSDP units (parallel/unit_policy.h); without a pipeline there is one program.
std::vector<Program> compile_step(const StepOptions& step, const Pipeline& pipeline, int ranks,
                                  const std::vector<int>& stage_units);

}  // namespace tessera
