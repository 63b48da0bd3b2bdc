// Orders of packs and the balancing of steps by attention cost.
#include "data/pack_order.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "data/random.h"

namespace tessera {
namespace {

constexpr uint64_t kOrderPurpose = 3;
constexpr uint64_t kBalancePurpose = 4;

int64_t piece_length(const Packing& packing, std::span<const int64_t> lengths, int64_t i) {
  return packing.cuts.empty() ? lengths[packing.documents[i]] : packing.cuts[i].length;
}

std::vector<int64_t> sort_keys(const Packing& packing, std::span<const int64_t> lengths, PackOrder order) {
  std::vector<int64_t> keys(static_cast<size_t>(packing.packs()), 0);
  for (int64_t p = 0; p < packing.packs(); ++p) {
    int64_t first = INT64_MAX;
    int64_t longest = 0;
    for (int64_t i = packing.offsets[p]; i < packing.offsets[p + 1]; ++i) {
      first = std::min(first, packing.documents[i]);
      longest = std::max(longest, piece_length(packing, lengths, i));
    }
    keys[p] = order == PackOrder::data ? first : order == PackOrder::short_first ? longest : -longest;
  }
  return keys;
}

}  // namespace

std::vector<int64_t> order_packs(const Packing& packing, std::span<const int64_t> lengths, PackOrder order,
                                 int64_t seed, int64_t epoch) {
  std::vector<int64_t> out(static_cast<size_t>(packing.packs()));
  std::iota(out.begin(), out.end(), int64_t{0});
  if (order == PackOrder::shuffled) {
    shuffle(std::span(out), seeded(seed, kOrderPurpose, epoch));
  } else if (order != PackOrder::packed) {
    const std::vector<int64_t> keys = sort_keys(packing, lengths, order);
    std::stable_sort(out.begin(), out.end(), [&](int64_t a, int64_t b) { return keys[a] < keys[b]; });
  }
  return out;
}

std::vector<double> attention_costs(const Packing& packing, std::span<const int64_t> lengths) {
  std::vector<double> costs(static_cast<size_t>(packing.packs()), 0.0);
  for (int64_t p = 0; p < packing.packs(); ++p) {
    for (int64_t i = packing.offsets[p]; i < packing.offsets[p + 1]; ++i) {
      const auto length = static_cast<double>(piece_length(packing, lengths, i));
      costs[p] += length * length;
    }
  }
  return costs;
}

void balance_steps(std::vector<int64_t>& order, std::span<const double> costs, int64_t step, int64_t window,
                   int64_t seed, int64_t epoch, int64_t phase) {
  TESSERA_CHECK(step >= 1, argument, "step=", step, " must be at least 1");
  TESSERA_CHECK(window >= 0, argument, "window=", window, " must not be negative");
  TESSERA_CHECK(phase >= 0 && phase < step, argument, "phase=", phase,
                " is not between 0 and step-1=", step - 1);
  const auto size = static_cast<int64_t>(order.size());
  const int64_t span = window > 0 && window <= size / step ? window * step : std::max<int64_t>(size, 1);
  SplitMix64 random = seeded(seed, kBalancePurpose, epoch);
  std::vector<int64_t> out;
  out.reserve(order.size());
  const int64_t head = std::min(size, (step - phase) % step);
  for (int64_t begin = 0, end = 0; begin < size; begin = end) {
    end = std::min(size, begin + span + (begin == 0 ? head : 0));
    std::vector<int64_t> part(order.begin() + begin, order.begin() + end);
    std::stable_sort(part.begin(), part.end(), [&](int64_t a, int64_t b) { return costs[a] < costs[b]; });
    if (begin == 0 && head > 0) {
      const auto packs = std::span(part).last(static_cast<size_t>(head));
      shuffle(packs, SplitMix64(random.next()));
      out.insert(out.end(), packs.begin(), packs.end());
      part.resize(part.size() - static_cast<size_t>(head));
    }
    const auto steps = static_cast<int64_t>(part.size()) / step;
    std::vector<int64_t> sequence(static_cast<size_t>(steps));
    std::iota(sequence.begin(), sequence.end(), int64_t{0});
    shuffle(std::span(sequence), SplitMix64(random.next()));
    for (const int64_t s : sequence) {
      const auto packs = std::span(part).subspan(static_cast<size_t>(s * step), static_cast<size_t>(step));
      shuffle(packs, SplitMix64(random.next()));
      out.insert(out.end(), packs.begin(), packs.end());
    }
    // Packs that fill no whole step of the window come last in it.
    out.insert(out.end(), part.begin() + steps * step, part.end());
  }
  order = std::move(out);
}

double step_imbalance(std::span<const int64_t> order, std::span<const double> costs, int64_t step) {
  TESSERA_CHECK(step >= 1, argument, "step=", step, " must be at least 1");
  double sum = 0;
  int64_t steps = 0;
  for (size_t begin = 0; begin + static_cast<size_t>(step) <= order.size();
       begin += static_cast<size_t>(step), ++steps) {
    double most = 0;
    double total = 0;
    for (const int64_t p : order.subspan(begin, static_cast<size_t>(step))) {
      most = std::max(most, costs[p]);
      total += costs[p];
    }
    sum += total > 0 ? most * static_cast<double>(step) / total : 1;
  }
  return steps > 0 ? sum / static_cast<double>(steps) : 1;
}

Packing permuted(const Packing& packing, std::span<const int64_t> order) {
  Packing out;
  out.offsets.reserve(packing.offsets.size());
  out.documents.reserve(packing.documents.size());
  out.cuts.reserve(packing.cuts.size());
  for (const int64_t p : order) {
    for (int64_t i = packing.offsets[p]; i < packing.offsets[p + 1]; ++i) {
      out.documents.push_back(packing.documents[i]);
      if (!packing.cuts.empty()) out.cuts.push_back(packing.cuts[i]);
    }
    out.offsets.push_back(static_cast<int64_t>(out.documents.size()));
  }
  return out;
}

}  // namespace tessera
