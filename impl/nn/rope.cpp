// The rotary table that layers of one model share.
#include "nn/rope.h"

#include <ATen/ops/cat.h>

#include <algorithm>

namespace tessera {

void RopeCache::cover(const PackedBatch& batch) {
  // Known without reading position_ids: a document with its alignment padding is no longer than the batch,
  // and where it is split between ranks, padding has position 0.
  const int64_t needed = std::max(batch.max_seqlen, batch.tokens_count());
  const bool moved = table_.cos.defined() && table_.cos.device() != batch.tokens.device();
  if (positions_ >= needed && !moved) return;
  int64_t positions = std::max<int64_t>(positions_, 256);
  while (positions < needed) positions *= 2;
  table_ = kernels::make_rope_table(positions, rotary_dim_, theta_, scaling_);
  if (scaling_.kind == RopeScaling::Kind::longrope) {
    const auto stretched = kernels::make_rope_table(positions, rotary_dim_, theta_, scaling_, true);
    table_ = {at::cat({table_.cos, stretched.cos}), at::cat({table_.sin, stretched.sin}), {}};
  }
  table_.cos = table_.cos.to(batch.tokens.device());
  table_.sin = table_.sin.to(batch.tokens.device());
  table_.pairs = pairs_;
  positions_ = positions;
  known_positions_.reset();
}

RopeCache::Rows RopeCache::rows(const PackedBatch& batch) {
  cover(batch);
  const bool by_length =
      scaling_.kind == RopeScaling::Kind::longrope && batch.max_seqlen > scaling_.original_max_positions;
  if (!by_length) return {table_, batch.position_ids};
  if (!known_positions_.defined() || !known_positions_.is_same(batch.position_ids)) {
    known_rows_ = rows_by_length(batch);
    known_positions_ = batch.position_ids;
  }
  return {table_, known_rows_};
}

at::Tensor RopeCache::rows_by_length(const PackedBatch& batch) {
  const at::Tensor lengths = document_lengths(batch).to(at::kCPU);
  const at::Tensor bounds = batch.cu_seqlens_padded.to(at::kCPU).contiguous();
  const int64_t* length = lengths.const_data_ptr<int64_t>();
  const int32_t* bound = bounds.const_data_ptr<int32_t>();
  at::Tensor rows = batch.position_ids.to(at::kCPU).clone();
  int64_t* row = rows.mutable_data_ptr<int64_t>();
  for (int64_t d = 0; d < batch.documents(); ++d) {
    if (length[d] <= scaling_.original_max_positions) continue;
    for (int64_t t = bound[d]; t < bound[d + 1]; ++t) row[t] += positions_;
  }
  return rows.to(batch.position_ids.device());
}

}  // namespace tessera
