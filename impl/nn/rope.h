// The rotary table that all layers of one model share: made for the positions that batches need, not for the
// most a model allows.
#pragma once

#include <cstdint>
#include <memory>

#include "data/packed_batch.h"
#include "kernels/rope.h"

namespace tessera {

/// One a model and rank; used by one thread at a time.
class RopeCache {
 public:
  RopeCache(int64_t head_dim, double theta, const RopeScaling& scaling)
      : head_dim_(head_dim), theta_(theta), scaling_(scaling) {}

  /// A table on the batch's device that covers its positions; grows by doubling.
  const kernels::RopeTable& table(const PackedBatch& batch);

 private:
  int64_t head_dim_;
  double theta_;
  RopeScaling scaling_;
  kernels::RopeTable table_;
};

using RopeCachePtr = std::shared_ptr<RopeCache>;

}  // namespace tessera
