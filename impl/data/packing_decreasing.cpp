// Best fit and worst fit from long to short, on runs of packs in the same state instead of single packs.
#include <algorithm>
#include <bit>

#include "data/packing_detail.h"

namespace tessera::packing {
namespace {

/// A set of integers [0, size) with the next member at or above, in a tree of 64-bit words.
class IntegerSet {
 public:
  explicit IntegerSet(size_t size) {
    do {
      size = (size + 63) / 64;
      levels_.emplace_back(size, 0);
    } while (size > 1);
  }
  void insert(size_t value) {
    for (auto& level : levels_) {
      level[value / 64] |= uint64_t{1} << (value % 64);
      value /= 64;
    }
  }
  void erase(size_t value) {
    for (auto& level : levels_) {
      level[value / 64] &= ~(uint64_t{1} << (value % 64));
      if (level[value / 64] != 0) return;
      value /= 64;
    }
  }
  /// The smallest member >= value, or -1.
  int64_t at_least(size_t value) const {
    for (size_t l = 0; l < levels_.size(); ++l) {
      const size_t word = value / 64;
      if (word >= levels_[l].size()) return -1;
      const uint64_t rest = levels_[l][word] >> (value % 64);
      if (rest != 0) {
        value += static_cast<size_t>(std::countr_zero(rest));
        while (l-- > 0) value = value * 64 + static_cast<size_t>(std::countr_zero(levels_[l][value]));
        return static_cast<int64_t>(value);
      }
      value = word + 1;
    }
    return -1;
  }

 private:
  std::vector<std::vector<uint64_t>> levels_;
};

/// Runs of packs with equal keys (room left, or fill), stacked by key.
class Runs {
 public:
  struct Run {
    uint32_t pack = 0;
    uint32_t packs = 0;
  };

  explicit Runs(int64_t capacity) : head_(static_cast<size_t>(capacity) + 1, kNone), keys_(head_.size()) {}

  int64_t at_least(int64_t key) const { return keys_.at_least(static_cast<size_t>(key)); }
  void push(int64_t key, Run run) {
    if (head_[key] == kNone) keys_.insert(static_cast<size_t>(key));
    uint32_t node = free_;
    if (node != kNone) {
      free_ = nodes_[node].next;
    } else {
      node = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    nodes_[node] = {run, head_[key]};
    head_[key] = node;
  }
  /// Up to `most` packs of the top run under `key`.
  Run take(int64_t key, int64_t most) {
    Node& node = nodes_[head_[key]];
    if (most < node.run.packs) {
      const Run part{node.run.pack, static_cast<uint32_t>(most)};
      node.run.pack += part.packs;
      node.run.packs -= part.packs;
      return part;
    }
    const Run whole = node.run;
    const uint32_t index = head_[key];
    head_[key] = node.next;
    node.next = free_;
    free_ = index;
    if (head_[key] == kNone) keys_.erase(static_cast<size_t>(key));
    return whole;
  }

 private:
  static constexpr uint32_t kNone = 0xffffffffu;
  struct Node {
    Run run;
    uint32_t next = kNone;
  };
  std::vector<uint32_t> head_;
  std::vector<Node> nodes_;
  uint32_t free_ = kNone;
  IntegerSet keys_;
};

void assign(Plan& plan, Runs::Run run, int64_t length, int64_t copies) {
  plan.assignments.push_back(
      {run.pack, run.packs, static_cast<uint32_t>(length), static_cast<uint32_t>(copies)});
}

}  // namespace

// Best fit puts equal documents into one pack until no more go in, as what is left there is always the least
// room that fits. So a run of packs with room r takes r / l copies each in one operation.
Plan best_fit_decreasing(const Histogram& histogram) {
  Plan plan;
  const int64_t capacity = histogram.capacity();
  Runs by_room(capacity);
  for (int64_t l = capacity; l >= 1; --l) {
    for (int64_t left = histogram.count(l); left > 0;) {
      const int64_t found = by_room.at_least(l);
      const int64_t room = found < 0 ? capacity : found;
      const int64_t copies = std::min(left, room / l);
      const int64_t most = left / copies;
      Runs::Run run{plan.packs, static_cast<uint32_t>(most)};
      if (found < 0) {
        plan.packs += run.packs;
      } else {
        run = by_room.take(room, most);
      }
      assign(plan, run, l, copies);
      left -= copies * run.packs;
      if (room > copies * l) by_room.push(room - copies * l, run);
    }
  }
  return plan;
}

Plan worst_fit_decreasing(const Histogram& histogram) {
  Plan plan;
  const int64_t capacity = histogram.capacity();
  Runs by_fill(capacity);
  for (int64_t l = capacity; l >= 1; --l) {
    for (int64_t left = histogram.count(l); left > 0;) {
      const int64_t fill = by_fill.at_least(0);
      Runs::Run run{plan.packs, 1};
      int64_t before = 0;
      if (fill >= 0 && fill + l <= capacity) {
        run = by_fill.take(fill, left);
        before = fill;
      } else {
        // Nothing of this length fits beside another one: all of them open packs.
        if (2 * l > capacity) run.packs = static_cast<uint32_t>(left);
        plan.packs += run.packs;
      }
      assign(plan, run, l, 1);
      left -= run.packs;
      by_fill.push(before + l, run);
    }
  }
  return plan;
}

}  // namespace tessera::packing
