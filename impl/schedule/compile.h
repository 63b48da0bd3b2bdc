// Compilers from a model's units and the user's choices to programs.
#pragma once

#include <vector>

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

}  // namespace tessera
