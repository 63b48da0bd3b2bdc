// From recipe keys to the options of mesh, trainer and dataset.
#pragma once

#include "comm/world.h"
#include "core/config.h"
#include "data/dataset.h"
#include "mesh/mesh.h"
#include "train/plan.h"
#include "train/trainer.h"

namespace tessera {

/// Each reads its keys of recipe_keys() from `config`. Errors have code argument and name key and value; what
/// one value alone cannot tell (tp against heads, batch against dp) is checked where the options are used.
WorldOptions world_options(const Config& config);
MeshSpec mesh_spec(const Config& config);
TrainerOptions trainer_options(const Config& config);
GenerateOptions generate_options(const Config& config);

/// The micro-batches of a step on `mesh`, for planning. Ranks are taken to share memory unless backend says
/// otherwise.
StepShape step_shape(const Config& config, const Mesh& mesh);

/// `dp_rank` and `dp_size` say which part of each step this rank reads.
DatasetOptions dataset_options(const Config& config, int64_t dp_rank, int64_t dp_size);

/// memory.reshard_after_forward: "true", "false", "keep_last" or a group size.
ReshardPolicy parse_reshard(const std::string& text);

}  // namespace tessera
