// Unequal pieces of work on the intra-op threads: side by side, or one after the other with all threads in
// each.
#pragma once

#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/cpu/thread_team.h"

namespace tessera::kernels {

/// True when the threads of this caller would be evenly busy with pieces of these costs (any unit) side by
/// side: handing out the largest first ends at most the largest piece later than an even split would.
inline bool worth_side_by_side(const std::vector<int64_t>& costs) {
  const int64_t threads = team_threads();
  if (threads == 1 || costs.empty()) return false;
  const int64_t total = std::accumulate(costs.begin(), costs.end(), int64_t{0});
  return total > 0 && *std::max_element(costs.begin(), costs.end()) * threads * 5 <= total * 3;
}

/// f(i) for each piece. f may use LibTorch, whose operators take one thread each when pieces run side by
/// side, and must not touch what another piece writes.
template <class F>
void side_by_side(const std::vector<int64_t>& costs, const F& f) {
  const auto count = static_cast<int64_t>(costs.size());
  if (!worth_side_by_side(costs)) {
    for (int64_t i = 0; i < count; ++i) f(static_cast<size_t>(i));
    return;
  }
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  for_chunks(count, [&](int64_t i) {
    // What the caller's thread has set does not reach the others.
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    f(order[static_cast<size_t>(i)]);
  });
}

}  // namespace tessera::kernels
