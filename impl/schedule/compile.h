// Compilers from a model's units and the user's choices to programs.
#pragma once

#include <vector>

#include "schedule/pipeline.h"
#include "schedule/program.h"
#include "schedule/storage_pass.h"
#include "schedule/unit_traits.h"

namespace tessera {

struct StepOptions {
  std::vector<UnitTraits> units;  ///< the last is the head
  int microbatches = 1;
  StoragePolicy storage;
  bool recompute = false;  ///< full recompute: a unit's forward runs again before its backward
  bool update = true;      ///< end with grad_norm and optimizer
};

/// A training step without a pipeline: forward through all units, loss, backward in reverse, micro-batch
/// after micro-batch, with FSDP or HSDP storage around it (Zhao et al., 2023; PyTorch FSDP2).
Program compile_fsdp(const StepOptions& options);

/// Forward only: the head evaluates the loss, or gives logits. With `keep` the weights stay gathered when the
/// program ends, so that running it again gathers nothing (generation).
Program compile_forward(const StepOptions& options, Op head, bool keep);

/// A training step over pp ranks: the program of each. `order` says who computes what and when
/// (schedule/pipeline.h), `stage_starts` which units a stage has: its first, ascending from 0. Receives are
/// posted in the order in which the peer sends, so that no transport needs to match messages out of order.
/// Errors (argument): an order that is not whole, or in which ranks would wait for each other for ever.
std::vector<Program> compile_pipeline(const StepOptions& options, const PipelineOrder& order,
                                      const std::vector<int>& stage_starts);

/// compile_forward() over pp ranks; the head runs on the rank of the last stage.
std::vector<Program> compile_pipeline_forward(const StepOptions& options, Op head, bool keep,
                                              const std::vector<int>& rank_of_stage,
                                              const std::vector<int>& stage_starts);

}  // namespace tessera
