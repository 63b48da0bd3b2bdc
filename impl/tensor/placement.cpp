// Arithmetic of boxes and of the splits that tp and FSDP make.
#include "tensor/placement.h"

#include <algorithm>

#include "core/error.h"

namespace tessera {
namespace {

struct Part {
  int64_t chunk;  // of every rank, with padding
  int64_t first;
  int64_t count;
};

// torch.chunk's rule: all chunks have ceil(total / parts) entries until the entries run out.
Part chunk_of(int64_t total, int64_t index, int64_t parts) {
  TESSERA_CHECK(parts >= 1, argument, "parts=", parts, " is not a positive number of parts");
  TESSERA_CHECK(index >= 0 && index < parts, argument, "index=", index, " is not within 0..", parts - 1);
  const int64_t chunk = total / parts + (total % parts != 0 ? 1 : 0);
  // index * chunk may pass int64 only when total is near its limit; compare without multiplying.
  const int64_t first = chunk == 0 || index > total / chunk ? total : std::min(index * chunk, total);
  return {chunk, first, std::min(chunk, total - first)};
}

}  // namespace

int64_t checked_numel(const std::vector<int64_t>& shape) {
  // A dim of size 0 must not hide an overflow in the strides of the dims before it.
  int64_t product = 1;
  bool overflow = false, none = false;
  for (int64_t size : shape) {
    TESSERA_CHECK(size >= 0, argument, "a dim of size ", size, " is negative");
    none |= size == 0;
    overflow |= __builtin_mul_overflow(product, std::max<int64_t>(size, 1), &product);
  }
  TESSERA_CHECK(!overflow, argument, "the number of elements does not fit into 64 bits");
  return none ? 0 : product;
}

int64_t Placement::copies(int64_t size) const {
  if (kind == Kind::replicate) return size;
  if (parts == 0) return 1;
  TESSERA_CHECK(parts > 0 && size % parts == 0, argument, "parts=", parts, " do not divide ", size, " ranks");
  return size / parts;
}

Box tp_box(const ParamSpec& spec, int64_t tp_index, int64_t tp_size) {
  Box box = Box::whole(spec.shape);
  if (spec.tp.kind == Placement::Kind::replicate) {
    chunk_of(1, tp_index, tp_size);  // the same checks of index and size
    return box;
  }
  const int dim = spec.tp.dim;
  TESSERA_CHECK(dim >= 0 && dim < static_cast<int>(spec.shape.size()), argument, spec.name,
                ": tp shards dim ", dim, " of a tensor with ", spec.shape.size(), " dims");
  const int64_t copies = spec.tp.copies(tp_size);
  const Part part = chunk_of(spec.shape[dim], tp_index / copies, tp_size / copies);
  box.offset[dim] = part.first;
  box.size[dim] = part.count;
  return box;
}

RowShard row_shard(const std::vector<int64_t>& part_shape, int64_t index, int64_t shards) {
  TESSERA_CHECK(!part_shape.empty(), argument, "a tensor without dims has no rows to shard");
  checked_numel(part_shape);
  const Part part = chunk_of(part_shape[0], index, shards);
  RowShard shard;
  shard.chunk_rows = part.chunk;
  shard.row_elements = checked_numel({part_shape.begin() + 1, part_shape.end()});
  shard.first_row = part.first;
  shard.rows = part.count;
  return shard;
}

Box owned_box(const ParamSpec& spec, int64_t tp_index, int64_t tp_size, int64_t shard_index, int64_t shards) {
  Box box = tp_box(spec, tp_index, tp_size);
  const RowShard rows = row_shard(box.size, shard_index, shards);
  box.offset[0] += rows.first_row;
  box.size[0] = rows.rows;
  return box;
}

}  // namespace tessera
