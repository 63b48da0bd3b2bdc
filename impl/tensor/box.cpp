// Arithmetic of boxes.
#include "tensor/box.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace tessera {

int64_t Box::numel() const {
  return std::accumulate(size.begin(), size.end(), int64_t{1}, std::multiplies<>());
}

Box Box::whole(const std::vector<int64_t>& shape) {
  return {std::vector<int64_t>(shape.size(), 0), shape};
}

bool Box::fits(const std::vector<int64_t>& shape) const {
  if (offset.size() != shape.size() || size.size() != shape.size()) return false;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (offset[d] < 0 || size[d] < 0 || offset[d] > shape[d] || size[d] > shape[d] - offset[d]) return false;
  }
  return true;
}

Box intersection(const Box& a, const Box& b) {
  TESSERA_CHECK(a.size.size() == b.size.size(), argument, "boxes of ", a.size.size(), " and ", b.size.size(),
                " dims have no intersection");
  Box out = a;
  for (size_t d = 0; d < a.size.size(); ++d) {
    const int64_t begin = std::max(a.offset[d], b.offset[d]);
    const int64_t end = std::min(a.offset[d] + a.size[d], b.offset[d] + b.size[d]);
    if (begin >= end) {
      std::fill(out.size.begin(), out.size.end(), 0);
      return out;
    }
    out.offset[d] = begin;
    out.size[d] = end - begin;
  }
  return out;
}

}  // namespace tessera
