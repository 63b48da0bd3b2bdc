// Insertion of gathers, releases and reductions into a compute order.
#include "schedule/storage_pass.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace tessera {
namespace {

// A stretch of the compute order over which a unit's full weights stay.
struct Residency {
  int unit;
  size_t first_use;
  size_t last_use;
  bool reshard = false;  // ends with reshard instead of release
};

bool is_forward(Op op) {
  return op == Op::forward;
}

class StoragePass {
 public:
  StoragePass(const std::vector<Instruction>& compute, const std::vector<UnitTraits>& units,
              const StoragePolicy& policy)
      : compute_(compute), units_(units), policy_(policy), resident_(units.size(), false) {
    find_residencies();
    find_last_contributions();
  }

  std::vector<Instruction> run() {
    for (size_t p = 0; p < compute_.size(); ++p) {
      gather_for(p);
      for (int unit : gradients_added(compute_[p], units_)) {
        if (unit == reducing_)
          finish_reduction();  // the next round must not touch a buffer that is being read
      }
      out_.push_back(compute_[p]);
      release_after(p);
      reduce_after(p);
    }
    finish_reduction();
    for (int unit : replicating_) {
      emit(Op::wait_replicas, unit);
      if (policy_.offload) emit(Op::offload_shard, unit);
    }
    return std::move(out_);
  }

 private:
  void emit(Op op, int unit) { out_.push_back({op, unit}); }

  // True when the weights stay between the uses at compute positions a and b.
  bool kept_between(size_t a, size_t b) const {
    using Kind = ReshardPolicy::Kind;
    if (policy_.reshard.kind == Kind::never) return true;
    size_t between = 0;
    bool only_loss = true;
    for (size_t p = a + 1; p < b; ++p) {
      if (!computes(compute_[p].op)) continue;
      ++between;
      only_loss &= compute_[p].op == Op::loss;
    }
    return between == 0 || (policy_.reshard.kind == Kind::keep_last && between == 1 && only_loss);
  }

  void find_residencies() {
    std::map<int, size_t> open;  // unit -> its latest residency
    for (size_t p = 0; p < compute_.size(); ++p) {
      for (int unit : weights_used(compute_[p], units_)) {
        const auto found = open.find(unit);
        if (found != open.end()) {
          Residency& last = residencies_[found->second];
          if (kept_between(last.last_use, p)) {
            last.last_use = p;
            continue;
          }
          last.reshard = policy_.reshard.kind == ReshardPolicy::Kind::group &&
                         is_forward(compute_[last.last_use].op) &&
                         compute_[last.last_use].microbatch == compute_[p].microbatch;
        }
        open[unit] = residencies_.size();
        residencies_.push_back({unit, p, p});
      }
    }
  }

  void find_last_contributions() {
    last_contribution_.assign(compute_.size(), {});
    std::map<std::pair<int, int>, size_t> last;  // (unit, round) -> position
    for (size_t p = 0; p < compute_.size(); ++p) {
      for (int unit : gradients_added(compute_[p], units_)) {
        const int round = policy_.defer_reduce ? 0 : compute_[p].microbatch;
        last[{unit, round}] = p;
        last_round_[unit] = p;
      }
    }
    for (const auto& [key, p] : last) last_contribution_[p].push_back(key.first);
    // The unit that computed goes first, then those that it borrows from.
    for (size_t p = 0; p < compute_.size(); ++p) {
      std::stable_partition(last_contribution_[p].begin(), last_contribution_[p].end(),
                            [&](int unit) { return unit == compute_[p].unit; });
    }
  }

  bool can_issue() const { return next_ < residencies_.size() && !resident_[residencies_[next_].unit]; }

  void issue() {
    const int unit = residencies_[next_++].unit;
    resident_[unit] = true;
    ++in_flight_;
    if (policy_.offload) emit(Op::fetch_shard, unit);
    emit(Op::gather, unit);
  }

  void gather_for(size_t p) {
    for (; waited_ < residencies_.size() && residencies_[waited_].first_use == p; ++waited_) {
      while (next_ <= waited_) issue();
      while (in_flight_ < policy_.prefetch + 1 && can_issue()) issue();
      emit(Op::wait_gather, residencies_[waited_].unit);
      usable_.push_back(waited_);
      --in_flight_;
    }
    while (in_flight_ < policy_.prefetch && can_issue()) issue();
  }

  void release_after(size_t p) {
    std::erase_if(usable_, [&](size_t i) {
      if (residencies_[i].last_use != p) return false;
      emit(residencies_[i].reshard ? Op::reshard : Op::release, residencies_[i].unit);
      resident_[residencies_[i].unit] = false;
      return true;
    });
  }

  void reduce_after(size_t p) {
    for (int unit : last_contribution_[p]) {
      finish_reduction();
      emit(Op::reduce, unit);
      reducing_ = unit;
      reducing_last_round_ = last_round_[unit] == p;
    }
  }

  void finish_reduction() {
    if (reducing_ < 0) return;
    emit(Op::wait_reduce, reducing_);
    if (policy_.replicas && reducing_last_round_) {
      emit(Op::reduce_replicas, reducing_);
      replicating_.push_back(reducing_);
    } else if (policy_.offload && reducing_last_round_) {
      emit(Op::offload_shard, reducing_);
    }
    reducing_ = -1;
  }

  const std::vector<Instruction>& compute_;
  const std::vector<UnitTraits>& units_;
  const StoragePolicy& policy_;
  std::vector<Instruction> out_;

  std::vector<Residency> residencies_;  // by first use: the order of the gathers
  size_t next_ = 0;                     // not yet issued
  size_t waited_ = 0;                   // not yet waited for
  std::vector<size_t> usable_;          // waited for and not yet released
  int in_flight_ = 0;
  std::vector<bool> resident_;

  std::vector<std::vector<int>> last_contribution_;  // per position: units whose round ends there
  std::map<int, size_t> last_round_;                 // unit -> its last contribution of the step
  int reducing_ = -1;
  bool reducing_last_round_ = false;
  std::vector<int> replicating_;
};

}  // namespace

std::vector<Instruction> place_communication(const std::vector<Instruction>& compute,
                                             const std::vector<UnitTraits>& units,
                                             const StoragePolicy& policy) {
  TESSERA_CHECK(policy.prefetch >= 0, argument, "prefetch=", policy.prefetch, " is negative");
  return StoragePass(compute, units, policy).run();
}

}  // namespace tessera
