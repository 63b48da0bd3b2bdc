// Walks a box of a row-major tensor as contiguous runs: what file reads, file writes and box copies loop
// over.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/placement.h"

namespace tessera {

/// Calls `visit(tensor_offset, box_offset, count)` for each maximal run of elements that is contiguous both
/// in the row-major tensor of `shape` and in the contiguous box; offsets and counts in elements, in ascending
/// order. `box` must fit `shape` (Box::fits).
template <class Visit>
void for_each_run(const std::vector<int64_t>& shape, const Box& box, Visit&& visit) {
  if (box.empty()) return;
  // Dims from `inner` on are taken whole, so one run spans them and the part of dim inner - 1.
  size_t inner = shape.size();
  int64_t run = 1;
  while (inner > 0 && box.size[inner - 1] == shape[inner - 1]) run *= shape[--inner];
  const size_t outer = inner == 0 ? 0 : inner - 1;  // dims that are looped over
  if (inner > 0) run *= box.size[inner - 1];

  std::vector<int64_t> stride(shape.size());
  int64_t step = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    stride[d] = step;
    step *= shape[d];
  }
  int64_t offset = 0;
  for (size_t d = 0; d < shape.size(); ++d) offset += box.offset[d] * stride[d];

  std::vector<int64_t> index(outer, 0);
  int64_t done = 0;
  for (;;) {
    visit(offset, done, run);
    done += run;
    size_t d = outer;
    while (d > 0) {
      --d;
      offset += stride[d];
      if (++index[d] < box.size[d]) break;
      offset -= box.size[d] * stride[d];
      index[d] = 0;
      if (d == 0) return;
    }
    if (outer == 0) return;
  }
}

}  // namespace tessera
