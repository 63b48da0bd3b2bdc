// What a program needs in bytes on one rank, from sizes alone: no tensors, any model on any mesh.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "schedule/program.h"
#include "schedule/unit_traits.h"

namespace tessera {

/// Weights of one unit in one domain on one rank, padding included.
struct StorageSizes {
  int64_t full = 0;   ///< elements when gathered
  int64_t shard = 0;  ///< of this rank
};

/// By domain (parallel/shard_domain.h): what all ranks share, and experts.
template <class T>
using ByDomain = std::array<T, 2>;

/// Sizes of one unit on one rank.
struct UnitSizes {
  ByDomain<StorageSizes> storage;
  StorageSizes float8_gather;  ///< of the first domain's: what can be gathered in float8
  int64_t float8_weights = 0;  ///< elements of the weights that are multiplied in float8
  int64_t saved_bytes = 0;     ///< kept from forward to backward, per micro-batch
  int64_t input_bytes = 0;     ///< kept instead under full recompute
  int64_t working_bytes = 0;   ///< alive only while the unit computes
  int64_t recorded_bytes = 0;  ///< kept from backward_input to backward_weight

  int64_t full_elements() const { return storage[0].full + storage[1].full; }
  int64_t shard_elements() const { return storage[0].shard + storage[1].shard; }
};

struct MemoryRates {
  int64_t param_bytes = 2;             ///< per weight that computes
  int64_t master_bytes = 4;            ///< per master weight; 0 where the weights that compute are the master
  int64_t optimizer_bytes = 8;         ///< optimizer state per master weight
  int64_t gradient_bytes = 2;          ///< per unsharded gradient
  bool gradients_late = false;         ///< a unit's sharded gradient takes memory from its first gradient on
  ByDomain<bool> shared_weights = {};  ///< one copy of the full weights for all ranks of the group
  ByDomain<int64_t> shards = {1, 1};   ///< ranks in the group
  bool cast_weights = false;           ///< weights rest as masters and are cast when they are gathered
  bool float8_gather = false;          ///< UnitSizes::float8_gather is gathered in float8
  bool recompute = false;              ///< programs with full recompute: units keep their input only
  int64_t reshard_group = 1;           ///< ranks that keep a resharded unit's weights together
  int64_t transfer_bytes = 0;          ///< of one message between pipeline stages
  int64_t sends = 8;                   ///< messages that a rank has under way before it waits for the oldest
};

/// Bytes of one rank. Memory that ranks share counts for its share.
struct MemoryEstimate {
  int64_t weights =
      0;  ///< shards that are gathered, or the share of the common block; none where masters are cast
  int64_t masters = 0;
  int64_t optimizer = 0;
  int64_t gradients = 0;    ///< sharded, float32
  int64_t buffers = 0;      ///< unsharded gradients (kept from step to step)
  int64_t gathered = 0;     ///< buffers of full weights (kept from step to step), or one rank's at a time
  int64_t float8 = 0;       ///< most casts of weights to float8 at a time
  int64_t activations = 0;  ///< most saved activations at a time, with messages between stages
  int64_t peak = 0;         ///< of everything, with what a computing unit needs for itself
};

MemoryEstimate estimate_memory(const Program& program, const std::vector<UnitTraits>& units,
                               const std::vector<UnitSizes>& sizes, const MemoryRates& rates);

}  // namespace tessera
