// The rotary table that layers of one model share: made for the positions that batches need, not for the
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
  RopeCache(int64_t rotary_dim, double theta, const RopeScaling& scaling,
            kernels::RopePairs pairs = kernels::RopePairs::halves)
      : rotary_dim_(rotary_dim), theta_(theta), scaling_(scaling), pairs_(pairs) {}

  /// What the kernel is given: a table on the batch's device, and the row of each token.
  struct Rows {
    const kernels::RopeTable& table;
    at::Tensor rows;  ///< int64 [T]
  };
  /// Covers the batch's positions; the table grows by doubling and stays the same object.
  Rows rows(const PackedBatch& batch);

 private:
  void cover(const PackedBatch& batch);
  /// Under longrope the rows of long documents come after those of the others.
  at::Tensor rows_by_length(const PackedBatch& batch);

  int64_t rotary_dim_;
  double theta_;
  RopeScaling scaling_;
  kernels::RopePairs pairs_;
  kernels::RopeTable table_;
  int64_t positions_ = 0;  // of the table
  // The batch for which rows were last made, known by its position_ids, which are held so that no other
  // tensor can take their place.
  at::Tensor known_positions_;
  at::Tensor known_rows_;
};

using RopeCachePtr = std::shared_ptr<RopeCache>;

}  // namespace tessera
