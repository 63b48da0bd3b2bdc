// Puts weights and gradients around computation: takes the order in which a schedule computes and inserts the
// gathers, releases and reductions that sharded storage needs. Every schedule compiler ends with it.
#pragma once

#include <vector>

#include "schedule/program.h"
#include "schedule/unit_traits.h"

namespace tessera {

/// What happens to a unit's full weights between two uses (reshard_after_forward of FSDP2).
struct ReshardPolicy {
  /// always: released after each use unless the very next computation needs them again. never: gathered once
  /// a step. keep_last: as always, but the unit before the head stays between its forward and its backward,
  /// since it would be gathered again at once. group: after forward keep 1/n, gathered again inside groups of
  /// n ranks.
  enum class Kind : int { always = 0, never = 1, keep_last = 2, group = 3 };
  Kind kind = Kind::keep_last;
  int64_t group = 0;
};

struct StoragePolicy {
  ReshardPolicy reshard;
  int prefetch =
      1;  ///< gathers under way while a unit computes; at most prefetch + 1 while one is waited for
  bool defer_reduce = true;  ///< reduce a unit once a step; otherwise after each micro-batch
  bool replicas = false;     ///< HSDP: all-reduce the sharded gradients over dp_replicate, once a step
  bool offload = false;      ///< shards rest in host memory
};

/// `compute` holds computation and pipeline transfers only. Gathers are issued in the order of first use. A
/// reduction starts as soon as the unit's last contribution is there and is waited for when the next one is
/// about to start, so that a slow peer costs nothing while this rank has work; not counting lenders and
/// deferred rounds, two units have unsharded gradients at a time (FSDP2's rule).
std::vector<Instruction> place_communication(const std::vector<Instruction>& compute,
                                             const std::vector<UnitTraits>& units,
                                             const StoragePolicy& policy);

}  // namespace tessera
