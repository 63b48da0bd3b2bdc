// A contiguous part of a tensor.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

/// A contiguous part of a tensor: `offset[d] .. offset[d] + size[d]` in each dim. Sizes may be 0.
struct Box {
  std::vector<int64_t> offset;
  std::vector<int64_t> size;

  int64_t numel() const;
  bool empty() const { return numel() == 0; }
  bool operator==(const Box&) const = default;

  /// The box that is the whole of a tensor.
  static Box whole(const std::vector<int64_t>& shape);
  /// True when both lists have one entry per dim of `shape` and no part lies outside it.
  bool fits(const std::vector<int64_t>& shape) const;
};

/// What two boxes of one tensor share; of size 0 in every dim when they share nothing.
Box intersection(const Box& a, const Box& b);

}  // namespace tessera
