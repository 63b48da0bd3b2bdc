// Walks a program and adds up what is alive.
#include "schedule/memory_estimate.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"

namespace tessera {
namespace {

// How many unsharded gradient buffers GradientStorage makes: it keeps up to three of a size and reuses one
// only after a further reduction (parallel/gradient_storage.h).
class BufferCount {
 public:
  void add_to(int unit, int64_t bytes) {
    if (open_.count(unit) != 0) return;
    open_[unit] = bytes;
    std::deque<int64_t>& free = free_[bytes];
    const bool rested = !free.empty() && free.front() + 1 < reductions_;
    if (!free.empty() && (rested || made_[bytes] >= 3)) {
      free.pop_front();
      return;
    }
    ++made_[bytes];
    total_ += bytes;
  }
  void reduce() { ++reductions_; }
  void finish(int unit) {
    const auto found = open_.find(unit);
    if (found == open_.end()) return;
    free_[found->second].push_back(reductions_);
    open_.erase(found);
  }
  int64_t total() const { return total_; }

 private:
  std::map<int, int64_t> open_;                  // unit -> bytes
  std::map<int64_t, std::deque<int64_t>> free_;  // bytes -> reductions when they came back
  std::map<int64_t, int> made_;
  int64_t reductions_ = 0;
  int64_t total_ = 0;
};

// Buffers for full weights: one of a size is used again before another is made (CopiedWeights in
// parallel/weight_storage.cpp).
class GatherPool {
 public:
  void acquire(int64_t bytes) {
    int64_t& free = free_[bytes];
    if (free > 0) {
      --free;
    } else {
      total_ += bytes;
    }
  }
  void release(int64_t bytes) { ++free_[bytes]; }
  int64_t total() const { return total_; }

 private:
  std::map<int64_t, int64_t> free_;  // bytes -> buffers
  int64_t total_ = 0;
};

class MemoryWalk {
 public:
  MemoryWalk(const std::vector<UnitTraits>& units, const std::vector<UnitSizes>& sizes,
             const MemoryRates& rates)
      : units_(units), sizes_(sizes), rates_(rates) {}

  MemoryEstimate run(const Program& program) {
    for (const UnitSizes& unit : sizes_) add_resident(unit);
    for (const Instruction& now : program.instructions) step(now);
    for (const BufferCount& buffers : buffers_) out_.buffers += buffers.total();
    for (const GatherPool& pool : pools_) out_.gathered += pool.total();
    // Buffers of a kind stay once they are made, and after the first step all are.
    out_.peak = most_ + out_.gathered + out_.weights + out_.masters + out_.optimizer + out_.buffers;
    if (!rates_.gradients_late) out_.peak += out_.gradients;
    return out_;
  }

 private:
  void add_resident(const UnitSizes& unit) {
    for (size_t d = 0; d < unit.storage.size(); ++d) {
      const StorageSizes& sizes = unit.storage[d];
      out_.weights +=
          (rates_.shared_weights[d] ? sizes.full / rates_.shards[d] : sizes.shard) * rates_.param_bytes;
    }
    const int64_t shard = unit.shard_elements();
    out_.masters += shard * rates_.master_bytes;
    out_.optimizer += shard * rates_.optimizer_bytes;
    out_.gradients += shard * int64_t{sizeof(float)};
  }

  int64_t full_bytes(int unit, size_t domain) const {
    return rates_.shared_weights[domain] ? 0 : sizes_[unit].storage[domain].full * rates_.param_bytes;
  }

  void acquire(int unit) {
    for (size_t d = 0; d < pools_.size(); ++d) pools_[d].acquire(full_bytes(unit, d));
  }

  void release(int unit) {
    for (size_t d = 0; d < pools_.size(); ++d) pools_[d].release(full_bytes(unit, d));
  }

  // Calls f(buffers, elements) for the domains that have weights in the unit. One rank needs none: it writes
  // into its shard.
  template <class Function>
  void each_buffers(int unit, const Function& f) {
    for (size_t d = 0; d < buffers_.size(); ++d) {
      if (sizes_[unit].storage[d].full > 0 && rates_.shards[d] > 1)
        f(buffers_[d], sizes_[unit].storage[d].full);
    }
  }

  void step(const Instruction& now) {
    int64_t working = 0;
    switch (now.op) {
      case Op::gather:
        acquire(now.unit);
        break;
      case Op::wait_gather:
        kept_.erase(now.unit);
        break;
      case Op::release:
        release(now.unit);
        break;
      case Op::reshard:
        release(now.unit);
        if (rates_.reshard_group > 1) {
          kept_[now.unit] = (full_bytes(now.unit, 0) + full_bytes(now.unit, 1)) / rates_.reshard_group;
        }
        break;
      case Op::forward:
        working = sizes_[now.unit].working_bytes;
        saved_ += rates_.recompute ? sizes_[now.unit].input_bytes : sizes_[now.unit].saved_bytes;
        break;
      case Op::recompute:
        saved_ += sizes_[now.unit].saved_bytes - sizes_[now.unit].input_bytes;
        break;
      case Op::loss:
      case Op::evaluate:
      case Op::logits:
      case Op::backward:
      case Op::backward_input:
        working = sizes_[now.unit].working_bytes;
        break;
      case Op::send_forward:
      case Op::send_backward:
        sent_ = std::min(sent_ + 1, rates_.sends);
        break;
      case Op::recv_forward:
      case Op::recv_backward:
        arriving_.insert({now.unit, now.microbatch});
        break;
      case Op::reduce:
        each_buffers(now.unit, [](BufferCount& buffers, int64_t) { buffers.reduce(); });
        break;
      case Op::wait_reduce:
        each_buffers(now.unit, [&](BufferCount& buffers, int64_t) { buffers.finish(now.unit); });
        break;
      default:
        break;
    }
    for (int unit : gradients_added(now, units_)) {
      if (rates_.gradients_late && late_units_.insert(unit).second) {
        late_ += sizes_[unit].shard_elements() * int64_t{sizeof(float)};
      }
      each_buffers(unit, [&](BufferCount& buffers, int64_t elements) {
        buffers.add_to(unit, elements * rates_.gradient_bytes);
      });
    }
    if (computes(now.op)) arriving_.erase({now.unit, now.microbatch});
    const auto messages = sent_ + static_cast<int64_t>(arriving_.size());
    const int64_t alive = saved_ + messages * rates_.transfer_bytes;
    out_.activations = std::max(out_.activations, alive);
    int64_t kept = 0;
    for (const auto& [unit, bytes] : kept_) kept += bytes;
    most_ = std::max(most_, alive + kept + working + late_);
    if (now.op == Op::backward || now.op == Op::backward_input) saved_ -= sizes_[now.unit].saved_bytes;
    if (now.op == Op::backward_input) saved_ += sizes_[now.unit].recorded_bytes;
    if (now.op == Op::backward_weight) saved_ -= sizes_[now.unit].recorded_bytes;
  }

  const std::vector<UnitTraits>& units_;
  const std::vector<UnitSizes>& sizes_;
  const MemoryRates& rates_;
  MemoryEstimate out_;
  ByDomain<BufferCount> buffers_;
  ByDomain<GatherPool> pools_;
  std::map<int, int64_t> kept_;             // unit -> bytes, between reshard and the next gather
  std::set<std::pair<int, int>> arriving_;  // unit and micro-batch of received messages not yet used
  int64_t sent_ = 0;
  int64_t saved_ = 0;
  std::set<int> late_units_;  // whose gradients have memory, and its bytes
  int64_t late_ = 0;
  int64_t most_ = 0;
};

}  // namespace

MemoryEstimate estimate_memory(const Program& program, const std::vector<UnitTraits>& units,
                               const std::vector<UnitSizes>& sizes, const MemoryRates& rates) {
  TESSERA_CHECK(units.size() == sizes.size() && static_cast<int>(sizes.size()) == program.units, internal,
                "sizes of ", sizes.size(), " units for a program of ", program.units);
  return MemoryWalk(units, sizes, rates).run(program);
}

}  // namespace tessera
