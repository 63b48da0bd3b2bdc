// The order in which packs are trained on: shuffled, as in the data, by length, or balanced over the ranks of
// a step.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/packing.h"

namespace tessera {

enum class PackOrder : int {
  packed = 0,  ///< as the packer made them
  shuffled = 1,
  data = 2,         ///< by the first document in the data
  short_first = 3,  ///< by the longest document: a curriculum
  long_first = 4,
};

/// A permutation of the packs. `lengths` are those of the documents; stable, and deterministic in the seed.
std::vector<int64_t> order_packs(const Packing& packing, std::span<const int64_t> lengths, PackOrder order,
                                 int64_t seed, int64_t epoch);

/// The attention cost of each pack: the sum of its documents' squared lengths.
std::vector<double> attention_costs(const Packing& packing, std::span<const int64_t> lengths);

/// Rearranges `order` so that the packs of a step (each `step` consecutive ones) cost nearly the same, and no
/// rank waits for another. Within each window of `window` steps (0: all) packs are sorted by cost and cut
/// into steps, the steps are shuffled, and the packs of each step too. `phase` packs of the first step were
/// laid before this order begins: the packs that complete it come first, and they are the costliest of the
/// first window as those that fill no whole step at the end are the costliest of the last one, so that the
/// step which two epochs share is even too.
void balance_steps(std::vector<int64_t>& order, std::span<const double> costs, int64_t step, int64_t window,
                   int64_t seed, int64_t epoch, int64_t phase = 0);

/// Mean over the steps of (most expensive pack / mean pack): what the slowest rank waits for, 1 is even.
double step_imbalance(std::span<const int64_t> order, std::span<const double> costs, int64_t step);

/// The packing with its packs in the given order.
Packing permuted(const Packing& packing, std::span<const int64_t> order);

}  // namespace tessera
