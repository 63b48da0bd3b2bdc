// Near-optimal packing: packs filled exactly by a bounded search, then the loosest ones repacked together.
#include <algorithm>
#include <iterator>
#include <numeric>

#include "data/packing_detail.h"
#include "data/random.h"

namespace tessera::packing {
namespace {

constexpr uint64_t kRepackPurpose = 2;
// Short searches on small groups do best by far: on 7,473 chat documents and capacity 512, 100 steps reach
// the lower bound in 0.06 s, 200 steps end 29 packs above it and 2,000 steps 38.
constexpr int64_t kStepsPerPack = 100;    ///< of the search for one exact fill
constexpr int64_t kStepsPerDocument = 4;  ///< what bringing a document into a repack costs, in time
constexpr size_t kLoosest = 3;            ///< packs with slack in a repack
constexpr size_t kCompanions = 10;        ///< tight packs that join them, to bring other lengths
constexpr size_t kNear = 4096;  ///< all but one of them from so many moved last, which caches still hold

using Pack = std::vector<uint32_t>;  ///< lengths, longest first

/// A multiset of lengths, longest first.
class Pool {
 public:
  void add(uint32_t length, int64_t count) {
    lengths_.push_back(length);
    counts_.push_back(count);
    left_ += count;
  }
  static Pool of(const std::vector<Pack>& packs) {
    std::vector<uint32_t> all;
    for (const Pack& pack : packs) all.insert(all.end(), pack.begin(), pack.end());
    std::sort(all.begin(), all.end(), std::greater<>());
    Pool pool;
    for (size_t i = 0, end = 0; i < all.size(); i = end) {
      while (end < all.size() && all[end] == all[i]) ++end;
      pool.add(all[i], static_cast<int64_t>(end - i));
    }
    return pool;
  }

  bool empty() const { return left_ == 0; }
  size_t kinds() const { return lengths_.size(); }
  uint32_t length(size_t kind) const { return lengths_[kind]; }
  int64_t count(size_t kind) const { return counts_[kind]; }
  void take(size_t kind, int64_t count = 1) {
    counts_[kind] -= count;
    left_ -= count;
  }
  void give(size_t kind) {
    ++counts_[kind];
    ++left_;
  }
  /// The first kind at or after `from` that is there and no longer than `length`; kinds() if there is none.
  size_t find(size_t from, uint64_t length) const {
    if (from < kinds() && lengths_[from] > length)
      from = std::lower_bound(lengths_.begin() + static_cast<ptrdiff_t>(from), lengths_.end(), length,
                              std::greater<>()) -
             lengths_.begin();
    while (from < kinds() && counts_[from] == 0) ++from;
    return from;
  }

 private:
  std::vector<uint32_t> lengths_;
  std::vector<int64_t> counts_;
  int64_t left_ = 0;
};

/// Depth-first over non-increasing lengths: the fullest fill of `room` seen within kStepsPerPack steps, as
/// kinds of the pool, which is left as it was. The first path is the greedy one, and the last choices are
/// changed first.
std::vector<size_t> fill(Pool& pool, uint64_t room, int64_t& steps) {
  std::vector<size_t> chosen, best;
  uint64_t least = room + 1;
  size_t from = 0;
  for (int64_t step = 0; step < kStepsPerPack; ++step, ++steps) {
    const size_t kind = pool.find(from, room);
    if (kind < pool.kinds()) {
      pool.take(kind);
      chosen.push_back(kind);
      room -= pool.length(kind);
      from = kind;
      if (room > 0) continue;
    }
    if (room < least) {
      least = room;
      best = chosen;
    }
    if (room == 0 || chosen.empty()) break;
    from = chosen.back() + 1;
    room += pool.length(chosen.back());
    pool.give(chosen.back());
    chosen.pop_back();
  }
  for (const size_t kind : chosen) pool.give(kind);
  return best;
}

/// How often the pool has this fill (kinds in non-decreasing order).
int64_t multiplicity(const Pool& pool, const std::vector<size_t>& kinds) {
  int64_t times = INT64_MAX;
  for (size_t i = 0, end = 0; i < kinds.size(); i = end) {
    while (end < kinds.size() && kinds[end] == kinds[i]) ++end;
    times = std::min(times, pool.count(kinds[i]) / static_cast<int64_t>(end - i));
  }
  return times;
}

/// Minimum bin slack: the longest document left goes first, then the fullest fill beside it.
std::vector<Pack> fill_packs(Pool pool, uint64_t capacity, int64_t& steps) {
  std::vector<Pack> packs;
  size_t longest = 0;
  while (!pool.empty()) {
    longest = pool.find(longest, capacity);
    pool.take(longest);
    std::vector<size_t> kinds = fill(pool, capacity - pool.length(longest), steps);
    pool.give(longest);
    kinds.insert(kinds.begin(), longest);
    const int64_t times = multiplicity(pool, kinds);
    Pack pack(kinds.size());
    for (size_t i = 0; i < kinds.size(); ++i) {
      pack[i] = pool.length(kinds[i]);
      pool.take(kinds[i], times);
    }
    packs.insert(packs.end(), static_cast<size_t>(times), pack);
  }
  return packs;
}

uint64_t slack(const Pack& pack, uint64_t capacity) {
  return capacity - std::accumulate(pack.begin(), pack.end(), uint64_t{0});
}

/// Larger when the slack is gathered in fewer packs, which is how a pack becomes empty in the end.
double concentration(const std::vector<Pack>& packs, uint64_t capacity) {
  double sum = 0;
  for (const Pack& pack : packs) {
    const auto s = static_cast<double>(slack(pack, capacity));
    sum += s * s;
  }
  return sum;
}

/// Repacks packs with slack together with some tight ones, again and again.
class Repacker {
 public:
  Repacker(std::vector<Pack> packs, uint64_t capacity, const PackOptions& options)
      : capacity_(capacity), effort_(options.effort), random_(seeded(options.seed, kRepackPurpose)) {
    put_back(packs);
  }

  std::vector<Pack> run(size_t bound) {
    for (int64_t steps = 0; loose_.size() + tight_.size() > bound && steps < effort_;) {
      std::vector<Pack> group = draw();
      std::vector<Pack> better = attempt(group, steps);
      for (const Pack& pack : group) steps += kStepsPerDocument * static_cast<int64_t>(pack.size());
      const bool accept = better.size() < group.size() ||
                          (better.size() == group.size() &&
                           concentration(better, capacity_) >= concentration(group, capacity_));
      put_back(accept ? better : group);
    }
    loose_.insert(loose_.end(), std::make_move_iterator(tight_.begin()),
                  std::make_move_iterator(tight_.end()));
    return std::move(loose_);
  }

 private:
  std::vector<Pack> draw() {
    std::vector<Pack> group;
    const auto take = [&](std::vector<Pack>& from, size_t i) {
      std::swap(from[i], from.back());
      group.push_back(std::move(from.back()));
      from.pop_back();
    };
    for (size_t i = 0; i < kLoosest && !loose_.empty(); ++i) {
      // The looser of two draws: the most slack is moved most.
      const size_t a = random_.below(loose_.size());
      const size_t b = random_.below(loose_.size());
      take(loose_, slack(loose_[a], capacity_) >= slack(loose_[b], capacity_) ? a : b);
    }
    for (size_t i = 0; i < kCompanions && !tight_.empty(); ++i) {
      const size_t reach = i == 0 ? tight_.size() : std::min(tight_.size(), kNear);
      take(tight_, tight_.size() - 1 - random_.below(reach));
    }
    return group;
  }

  std::vector<Pack> attempt(const std::vector<Pack>& group, int64_t& steps) {
    std::vector<Pack> kept, rest = group;
    // Sometimes one pack stays as it is, so that the others have to be arranged in another way.
    if (rest.size() > 2 && random_.below(2) == 0) {
      const size_t i = random_.below(rest.size());
      kept.push_back(rest[i]);
      rest.erase(rest.begin() + static_cast<ptrdiff_t>(i));
    }
    std::vector<Pack> packs = fill_packs(Pool::of(rest), capacity_, steps);
    packs.insert(packs.end(), kept.begin(), kept.end());
    return packs;
  }

  void put_back(std::vector<Pack>& group) {
    for (Pack& pack : group) (slack(pack, capacity_) > 0 ? loose_ : tight_).push_back(std::move(pack));
  }

  std::vector<Pack> loose_, tight_;
  uint64_t capacity_;
  int64_t effort_;
  SplitMix64 random_;
};

/// The packs of a plan, in units.
std::vector<Pack> packs_of(const Plan& plan, uint32_t unit) {
  std::vector<Pack> packs(plan.packs);
  for (const Assignment& a : plan.assignments)
    for (uint32_t p = 0; p < a.packs; ++p)
      packs[a.pack + p].insert(packs[a.pack + p].end(), a.copies, a.length / unit);
  return packs;
}

Plan plan_of(const std::vector<Pack>& packs, uint32_t unit) {
  Plan plan;
  for (const Pack& pack : packs) {
    for (size_t i = 0, end = 0; i < pack.size(); i = end) {
      while (end < pack.size() && pack[end] == pack[i]) ++end;
      plan.assignments.push_back({plan.packs, 1, pack[i] * unit, static_cast<uint32_t>(end - i)});
    }
    ++plan.packs;
  }
  return plan;
}

}  // namespace

Plan near_optimal(const Histogram& histogram, const PackOptions& options) {
  const int64_t capacity = histogram.capacity();
  int64_t unit = 0;
  for (int64_t l = 1; l <= capacity; ++l)
    if (histogram.count(l) > 0) unit = std::gcd(unit, l);
  if (unit == 0) return {};
  // In units of the greatest common divisor: aligned documents waste nothing of a capacity that is no
  // multiple.
  std::vector<int64_t> counts(static_cast<size_t>(capacity / unit) + 1, 0);
  Pool pool;
  for (int64_t l = capacity / unit; l >= 1; --l) {
    counts[l] = histogram.count(l * unit);
    if (counts[l] > 0) pool.add(static_cast<uint32_t>(l), counts[l]);
  }
  const auto bound = static_cast<size_t>(lower_bound(counts));
  Plan greedy = best_fit_decreasing(histogram);
  if (greedy.packs == bound) return greedy;
  int64_t steps = 0;
  std::vector<Pack> packs = fill_packs(std::move(pool), static_cast<uint64_t>(capacity / unit), steps);
  if (greedy.packs <= packs.size()) packs = packs_of(greedy, static_cast<uint32_t>(unit));
  packs = Repacker(std::move(packs), static_cast<uint64_t>(capacity / unit), options).run(bound);
  if (greedy.packs <= packs.size()) return greedy;
  return plan_of(packs, static_cast<uint32_t>(unit));
}

}  // namespace tessera::packing
