// Which of a model's units each pipeline stage holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// The first unit of each stage, ascending from 0; the last stage ends with the last unit.
using StageStarts = std::vector<int>;

/// Contiguous stages whose largest cost is as small as can be; among such splits the earlier stages are the
/// fuller ones. `costs` has one entry a unit (embedding, layers, head), in any measure. Errors (argument):
/// more stages than units.
StageStarts balanced_stages(const std::vector<double>& costs, int stages);

/// Reads parallel.pp_split: the number of decoder layers of each stage, "4,4,4,3". The embedding goes to the
/// first stage and the head to the last. Errors (argument): counts that do not add up to `layers`, not one
/// per stage, or a stage without units.
StageStarts stages_from_layers(const std::vector<int64_t>& layers_per_stage, int64_t layers, int stages);

}  // namespace tessera
