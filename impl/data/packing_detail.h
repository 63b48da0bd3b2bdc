// What the packers share: the histogram of lengths, and assignments of many equal documents at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/packing.h"

namespace tessera::packing {

/// Documents sorted by length, stable: those of length l are order[first[l]] .. order[first[l+1]].
struct Histogram {
  std::vector<uint32_t> first;  ///< capacity + 2 entries
  std::vector<uint32_t> order;

  int64_t capacity() const { return static_cast<int64_t>(first.size()) - 2; }
  int64_t count(int64_t length) const { return first[length + 1] - first[length]; }
};

/// Each of the packs pack .. pack+packs-1 gets `copies` documents of `length`. Packers work on lengths and
/// counts; which document it is follows at the end.
struct Assignment {
  uint32_t pack = 0;
  uint32_t packs = 0;
  uint32_t length = 0;
  uint32_t copies = 0;
};

struct Plan {
  std::vector<Assignment> assignments;
  uint32_t packs = 0;
};

Histogram make_histogram(std::span<const int64_t> lengths, int64_t capacity);
/// Hands out the documents of each length in their order.
Packing materialise(const Plan& plan, const Histogram& histogram);

Plan best_fit_decreasing(const Histogram& histogram);
Plan first_fit_decreasing(const Histogram& histogram);
Plan worst_fit_decreasing(const Histogram& histogram);
Plan near_optimal(const Histogram& histogram, const PackOptions& options);

/// counts[l] documents of each length l.
int64_t lower_bound(std::span<const int64_t> counts);

}  // namespace tessera::packing
