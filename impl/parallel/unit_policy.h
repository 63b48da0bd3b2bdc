// Which parts of a model are gathered and released together: the grouping of model units into FSDP units.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nn/unit.h"

namespace tessera {

/// What is gathered together.
struct UnitPolicy {
  enum class Kind : int { layer = 0, size = 1, names = 2 };
  Kind kind = Kind::layer;     ///< embedding, each decoder layer, head
  int64_t min_parameters = 0;  ///< size: neighbours are joined until a unit has at least this many
  std::vector<std::string>
      names;  ///< names: a new unit starts where a model unit's name matches one of these globs
};

/// Cuts the model's units, in order, into groups: the indices of each group's first unit, ascending from 0.
/// Errors (argument): a glob that matches no unit.
std::vector<int> group_starts(const std::vector<std::unique_ptr<Unit>>& units, const UnitPolicy& policy);
/// The same, with a new group where each pipeline stage begins.
std::vector<int> group_starts(const std::vector<std::unique_ptr<Unit>>& units, const UnitPolicy& policy,
                              const std::vector<int>& stage_starts);
/// The group with which each stage begins.
std::vector<int> stage_units(const std::vector<int>& group_starts, const std::vector<int>& stage_starts);

}  // namespace tessera
