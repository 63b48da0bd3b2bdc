// Counts by the largest source, turns by the largest deficit.
#include "data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace tessera {
namespace {

constexpr double kMostRepeats = 1 << 28;  // documents of an epoch beyond those of the sources

}  // namespace

void check_weights(std::span<const double> weights, size_t sources) {
  TESSERA_CHECK(weights.size() == sources, argument, "data.weights has ", weights.size(),
                " entries, data.path has ", sources);
  for (size_t k = 0; k < weights.size(); ++k)
    TESSERA_CHECK(std::isfinite(weights[k]) && weights[k] > 0, argument, "data.weights[", k, "]=", weights[k],
                  " must be positive and finite");
}

std::vector<int64_t> mix_counts(std::span<const int64_t> sizes, std::span<const double> weights) {
  check_weights(weights, sizes.size());
  const double most = weights.empty() ? 1 : *std::max_element(weights.begin(), weights.end());
  const auto lasts = [&](size_t k) { return static_cast<double>(sizes[k]) / (weights[k] / most); };
  size_t longest = 0;
  int64_t whole = 0;
  for (size_t k = 0; k < sizes.size(); ++k) {
    TESSERA_CHECK(sizes[k] > 0, argument, "source ", k, " of the mix has no documents");
    if (lasts(k) > lasts(longest)) longest = k;
    whole += sizes[k];
  }
  std::vector<int64_t> counts(sizes.size());
  double total = 0;
  for (size_t k = 0; k < sizes.size(); ++k) {
    const double count = static_cast<double>(sizes[longest]) * (weights[k] / weights[longest]);
    total += count;
    TESSERA_CHECK(total <= static_cast<double>(whole) + kMostRepeats, argument, "data.weights[", k,
                  "]=", weights[k], " beside data.weights[", longest, "]=", weights[longest],
                  " makes an epoch of ", total, " documents");
    counts[k] = std::max<int64_t>(1, std::llround(count));
  }
  counts[longest] = sizes[longest];
  return counts;
}

std::vector<uint32_t> mix_order(std::span<const int64_t> counts) {
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  std::vector<uint32_t> order(static_cast<size_t>(total));
  // behind[k] = counts[k] * places - total * taken[k]; the sum over k is total, so the largest is positive
  // and no source is taken more than counts[k] times.
  std::vector<__int128> behind(counts.size(), 0);
  for (uint32_t& source : order) {
    size_t next = 0;
    for (size_t k = 0; k < counts.size(); ++k) {
      behind[k] += counts[k];
      if (behind[k] > behind[next]) next = k;
    }
    behind[next] -= total;
    source = static_cast<uint32_t>(next);
  }
  return order;
}

}  // namespace tessera
