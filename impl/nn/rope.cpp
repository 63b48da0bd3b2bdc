// The rotary table that all layers of one model share.
#include "nn/rope.h"

#include <algorithm>

namespace tessera {

const kernels::RopeTable& RopeCache::table(const PackedBatch& batch) {
  // Known without reading position_ids: a document with its alignment padding is no longer than the batch,
  // and where it is split between ranks, padding has position 0.
  const int64_t needed = std::max(batch.max_seqlen, batch.tokens_count());
  const int64_t have = table_.cos.defined() ? table_.cos.size(0) : 0;
  const bool moved = table_.cos.defined() && table_.cos.device() != batch.tokens.device();
  if (have >= needed && !moved) return table_;
  int64_t positions = std::max<int64_t>(have, 256);
  while (positions < needed) positions *= 2;
  table_ = kernels::make_rope_table(positions, head_dim_, theta_, scaling_);
  table_.cos = table_.cos.to(batch.tokens.device());
  table_.sin = table_.sin.to(batch.tokens.device());
  return table_;
}

}  // namespace tessera
