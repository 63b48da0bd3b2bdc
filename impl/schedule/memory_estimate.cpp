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
    const std::vector<std::vector<int>> last_uses = last_weight_uses(program, units_);
    for (size_t i = 0; i < program.instructions.size(); ++i) {
      step(program.instructions[i]);
      for (const int unit : last_uses[i]) casts_.erase(unit);
    }
    for (const BufferCount& buffers : buffers_) out_.buffers += buffers.total();
    int64_t pooled = float8_pool_.total();
    for (const GatherPool& pool : pools_) pooled += pool.total();
    out_.gathered = pooled + most_own_;
    // Buffers of a kind stay once they are made, and after the first step all are.
    out_.peak = most_ + pooled + out_.weights + out_.masters + out_.optimizer + out_.buffers;
    if (!rates_.gradients_late) out_.peak += out_.gradients;
    return out_;
  }

 private:
  void add_resident(const UnitSizes& unit) {
    for (size_t d = 0; d < unit.storage.size(); ++d) {
      const StorageSizes& sizes = unit.storage[d];
      if (rates_.cast_weights) continue;
      out_.weights +=
          (rates_.shared_weights[d] ? sizes.full / rates_.shards[d] : sizes.shard) * rates_.param_bytes;
    }
    if (rates_.float8_gather) out_.weights += unit.float8_gather.shard;
    const int64_t shard = unit.shard_elements();
    out_.masters += shard * rates_.master_bytes;
    out_.optimizer += shard * rates_.optimizer_bytes;
    out_.gradients += shard * int64_t{sizeof(float)};
  }

  // Without what is gathered in float8.
  StorageSizes gathered(int unit, size_t domain) const {
    StorageSizes sizes = sizes_[unit].storage[domain];
    if (domain > 0 || !rates_.float8_gather) return sizes;
    return {sizes.full - sizes_[unit].float8_gather.full, sizes.shard - sizes_[unit].float8_gather.shard};
  }

  int64_t float8_bytes(int unit) const { return rates_.float8_gather ? sizes_[unit].float8_gather.full : 0; }

  int64_t full_bytes(int unit, size_t domain) const {
    return rates_.shared_weights[domain] ? 0 : gathered(unit, domain).full * rates_.param_bytes;
  }

  // Of a shard that is cast to be gathered.
  int64_t cast_bytes(int unit, size_t domain) const {
    const bool casts = rates_.cast_weights && !rates_.shared_weights[domain];
    return casts ? gathered(unit, domain).shard * rates_.param_bytes : 0;
  }

  // Of one rank, whose cast is what it computes with.
  int64_t own_bytes(int unit) const {
    int64_t bytes = 0;
    for (size_t d = 0; rates_.cast_weights && d < pools_.size(); ++d) {
      if (rates_.shards[d] == 1) bytes += gathered(unit, d).full * rates_.param_bytes;
    }
    return bytes;
  }

  void acquire(int unit) {
    for (size_t d = 0; d < pools_.size(); ++d) {
      if (kept_.count(unit) == 0 && cast_bytes(unit, d) > 0) pools_[d].acquire(cast_bytes(unit, d));
      pools_[d].acquire(full_bytes(unit, d));
    }
    float8_pool_.acquire(float8_bytes(unit));
  }

  void arrive(int unit) {
    for (size_t d = 0; d < pools_.size(); ++d) {
      if (kept_.count(unit) == 0 && cast_bytes(unit, d) > 0) pools_[d].release(cast_bytes(unit, d));
    }
    kept_.erase(unit);
    own_[unit] = own_bytes(unit);
  }

  void release(int unit) {
    for (size_t d = 0; d < pools_.size(); ++d) pools_[d].release(full_bytes(unit, d));
    float8_pool_.release(float8_bytes(unit));
    own_.erase(unit);
    if (!persistent()) casts_.erase(unit);
  }

  // Full weights that are the same memory all the time.
  bool persistent() const {
    return !rates_.cast_weights && !rates_.float8_gather && rates_.shared_weights[0] &&
           rates_.shared_weights[1];
  }

  // Each weight is cast as its forward reads it, and transposed as its backward does; gathered ones come as
  // the first.
  void cast_to_float8(const Instruction& now) {
    const int64_t elements = sizes_[now.unit].float8_weights;
    if (elements == 0) return;
    Casts& casts = casts_[now.unit];
    if (!rates_.float8_gather) casts.forward = elements;
    const bool backward = now.op == Op::backward || now.op == Op::backward_input || now.op == Op::loss;
    if (backward) casts.backward = elements;
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
        arrive(now.unit);
        break;
      case Op::release:
        release(now.unit);
        break;
      case Op::reshard:
        release(now.unit);
        if (rates_.reshard_group > 1) {
          kept_[now.unit] = (full_bytes(now.unit, 0) + full_bytes(now.unit, 1) + float8_bytes(now.unit)) /
                            rates_.reshard_group;
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
    if (computes(now.op)) {
      arriving_.erase({now.unit, now.microbatch});
      if (!weights_used(now, units_).empty()) cast_to_float8(now);
    }
    const auto messages = sent_ + static_cast<int64_t>(arriving_.size());
    const int64_t alive = saved_ + messages * rates_.transfer_bytes;
    out_.activations = std::max(out_.activations, alive);
    int64_t kept = 0;
    for (const auto& [unit, bytes] : kept_) kept += bytes;
    int64_t own = 0, float8 = 0;
    for (const auto& [unit, bytes] : own_) own += bytes;
    for (const auto& [unit, casts] : casts_) float8 += casts.forward + casts.backward;
    most_own_ = std::max(most_own_, own);
    out_.float8 = std::max(out_.float8, float8);
    most_ = std::max(most_, alive + kept + own + float8 + working + late_);
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
  GatherPool float8_pool_;
  std::map<int, int64_t> own_;  // unit -> bytes of one rank's gathered weights
  int64_t most_own_ = 0;
  struct Casts {
    int64_t forward = 0, backward = 0;
  };
  std::map<int, Casts> casts_;              // unit -> bytes in float8
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
