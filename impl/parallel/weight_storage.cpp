// The three strategies of WeightStorage.
#include "parallel/weight_storage.h"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <c10/core/StreamGuard.h>

#include <map>
#include <optional>

#include "comm/device_world.h"
#include "core/error.h"
#include "kernels/device_copy.h"
#include "kernels/elementwise.h"

namespace tessera {
namespace {

// One block holds the full weights of all units; rank r writes its chunks in place. A gather is only the
// promise that all ranks have finished writing, which the step's first collective gives for all units at
// once.
class SharedWeights final : public WeightStorage {
 public:
  SharedWeights(const GroupPtr& group, const std::vector<FsdpLayout>& layouts, at::ScalarType dtype)
      : layouts_(layouts), rank_(group->rank()), shared_(group->size() > 1) {
    int64_t elements = 0;
    for (const FsdpLayout& layout : layouts) elements += layout.full_numel;
    const int64_t bytes = elements * static_cast<int64_t>(c10::elementSize(dtype));
    block_ = shared_ ? group->allocate_shared(bytes).view(dtype)
                     : kernels::zeros({elements}, at::dtype(dtype).device(device_of(*group)));
    int64_t offset = 0;
    for (const FsdpLayout& layout : layouts) {
      full_.push_back(block_.narrow(0, offset, layout.full_numel));
      offset += layout.full_numel;
    }
  }

  void gather(int) override {}
  void wait(int) override {}
  void release(int) override {}
  const at::Tensor& full(int unit) const override { return full_[unit]; }
  bool persistent() const override { return true; }
  bool shared() const override { return shared_; }

  at::Tensor own_chunk(int unit, size_t index) const override {
    const FsdpParam& param = layouts_[unit].params[index];
    return param.all_chunks(full_[unit])
        .narrow(0, rank_ * param.shard.padded_numel(), param.shard.padded_numel())
        .narrow(0, 0, param.shard.numel());
  }

 private:
  const std::vector<FsdpLayout>& layouts_;
  int64_t rank_;
  bool shared_;
  at::Tensor block_;
  std::vector<at::Tensor> full_;
};

// One rank's weights, which rest as masters: a unit is cast when it is waited for and freed when it is
// released. The memory is the allocator's, which has it for activations in between.
class CastWeights final : public WeightStorage {
 public:
  CastWeights(const Group& group, const std::vector<FsdpLayout>& layouts, at::ScalarType dtype,
              at::ScalarType rest)
      : layouts_(layouts), dtype_(dtype), full_(layouts.size()) {
    for (const FsdpLayout& layout : layouts) {
      masters_.push_back(kernels::zeros({layout.shard_numel}, at::dtype(rest).device(device_of(group))));
    }
  }

  void gather(int) override {}
  void wait(int unit) override {
    if (full_[unit].defined()) return;
    // One rank's shard is laid out as the full buffer.
    full_[unit] = at::empty({layouts_[unit].full_numel}, masters_[unit].options().dtype(dtype_));
    kernels::cast_copy(full_[unit], masters_[unit]);
  }
  void release(int unit) override { full_[unit].reset(); }
  const at::Tensor& full(int unit) const override { return full_[unit]; }
  bool persistent() const override { return false; }
  bool shared() const override { return false; }
  at::Tensor own_chunk(int unit, size_t index) const override {
    return layouts_[unit].params[index].chunk(masters_[unit]);
  }

 private:
  const std::vector<FsdpLayout>& layouts_;
  at::ScalarType dtype_;
  std::vector<at::Tensor> masters_;
  std::vector<at::Tensor> full_;  // while gathered
};

// Each rank keeps its chunks; a gather copies all ranks' chunks into a buffer of a small pool, parameter by
// parameter into the final layout, as one operation.
class CopiedWeights final : public WeightStorage {
 public:
  CopiedWeights(GroupPtr group, const std::vector<FsdpLayout>& layouts, const WeightStorageOptions& options)
      : group_(std::move(group)), layouts_(layouts), options_(options), state_(layouts.size()) {
    if (options.offload) upload_ = std::make_unique<CopyStream>(device_of(*group_));
    for (size_t u = 0; u < layouts.size(); ++u) {
      const std::vector<int64_t> size = {layouts[u].shard_numel};
      if (options.rest) {
        state_[u].shard = kernels::zeros(size, at::dtype(*options.rest).device(device_of(*group_)));
      } else {
        state_[u].shard = upload_ ? host_memory_of(upload_->device(), size, options.dtype).zero_()
                                  : memory(layouts[u].shard_numel).zero_();
      }
    }
  }

  // One rank's shard is the full weights. Otherwise a gather reads it on the stream that brings it, so that
  // what computes waits for neither.
  void fetch(int unit) override {
    State& state = state_[unit];
    if (!upload_ || state.arriving || state.full.defined() || state.kept.defined()) return;
    const at::Tensor there = acquire(layouts_[unit].shard_numel);
    state.arriving = upload_->start(there, state.shard);
  }

  void gather(int unit) override {
    State& state = state_[unit];
    if (state.full.defined()) return;
    fetch(unit);
    if (state.arriving && group_->size() == 1) {
      state.full = state.arriving->result();
      return;
    }
    state.full = acquire(layouts_[unit].full_numel);
    std::vector<at::Tensor> outs;
    std::vector<at::Tensor> ins;
    const bool small = state.kept.defined();
    if (options_.rest && !small) {
      state.cast = acquire(layouts_[unit].shard_numel);
      kernels::cast_copy(state.cast, state.shard);
    }
    const at::Tensor shard = state.arriving         ? state.arriving->result()
                             : state.cast.defined() ? state.cast
                                                    : state.shard;
    for (const FsdpParam& param : layouts_[unit].params) {
      if (param.shard.padded_numel() == 0) continue;
      outs.push_back(param.all_chunks(state.full));
      ins.push_back(small ? kept_part(param, state.kept) : param.padded_chunk(shard));
    }
    if (outs.empty()) return;
    std::optional<c10::StreamGuard> behind_upload;
    if (state.arriving) {
      // The buffer may be of a unit that was computed after the upload had been started.
      upload_->follow();
      behind_upload.emplace(upload_->stream());
    }
    state.work = (small ? options_.reshard_group : group_)->all_gather(outs, ins);
  }

  void wait(int unit) override {
    State& state = state_[unit];
    if (state.work) state.work->wait();
    state.work.reset();
    state.kept.reset();
    if (state.cast.defined()) put_back(state.cast);
    state.cast.reset();
    if (!state.arriving) return;
    state.arriving->wait();
    if (group_->size() > 1) put_back(state.arriving->result());
    state.arriving.reset();
  }

  void release(int unit) override {
    State& state = state_[unit];
    if (!state.full.defined()) return;
    wait(unit);
    put_back(state.full);
    state.full.reset();
  }

  void reshard(int unit) override {
    State& state = state_[unit];
    if (!options_.reshard_group || !state.full.defined()) return release(unit);
    const FsdpLayout& layout = layouts_[unit];
    const int64_t parts = options_.reshard_group->size();
    const int64_t part = options_.reshard_group->rank();
    state.kept = acquire(layout.full_numel / parts);
    for (const FsdpParam& param : layout.params) {
      const int64_t numel = param.full_numel() / parts;
      kept_part(param, state.kept).copy_(param.all_chunks(state.full).narrow(0, part * numel, numel));
    }
    const at::Tensor kept = state.kept;
    release(unit);
    state.kept = kept;
  }

  const at::Tensor& full(int unit) const override { return state_[unit].full; }
  bool persistent() const override { return false; }
  bool shared() const override { return false; }
  at::Tensor own_chunk(int unit, size_t index) const override {
    return layouts_[unit].params[index].chunk(state_[unit].shard);
  }

 private:
  struct State {
    at::Tensor shard;  // this rank's chunks, flat
    at::Tensor cast;   // of the shard, where it rests in another dtype, while it is gathered
    at::Tensor full;   // while gathered
    at::Tensor kept;   // between reshard and the gather after it
    WorkPtr work;
    PendingCopyPtr arriving;  // of an offloaded shard, from fetch to wait
  };

  // The share of `param` in a resharded buffer; full offsets are multiples of the alignment, which n divides
  // or not, so the shares keep their own order by full_offset / n rounded down.
  at::Tensor kept_part(const FsdpParam& param, const at::Tensor& kept) const {
    const int64_t parts = options_.reshard_group->size();
    return kept.narrow(0, param.full_offset / parts, param.full_numel() / parts);
  }

  at::Tensor memory(int64_t numel) const {
    const auto bytes = static_cast<int64_t>(c10::elementSize(options_.dtype)) * numel;
    return collective_memory(*group_, bytes).view(options_.dtype);
  }

  // Which buffers are made, and when, follows from the program: the same on all ranks.
  at::Tensor acquire(int64_t numel) {
    std::vector<at::Tensor>& free = pool_[numel];
    if (free.empty()) return memory(numel);
    at::Tensor buffer = std::move(free.back());
    free.pop_back();
    return buffer;
  }

  void put_back(const at::Tensor& buffer) { pool_[buffer.numel()].push_back(buffer); }

  GroupPtr group_;
  const std::vector<FsdpLayout>& layouts_;
  WeightStorageOptions options_;
  std::unique_ptr<CopyStream> upload_;  // of offloaded shards
  std::vector<State> state_;
  std::map<int64_t, std::vector<at::Tensor>> pool_;  // by elements
};

}  // namespace

bool copies_weights(const Group& group, const WeightStorageOptions& options) {
  const bool on_device = !device_of(group).is_cpu();
  const bool share = group.size() == 1 || (group.shares_memory() && !options.force_copy);
  return !share || (options.offload && on_device);
}

bool casts_weights(const Group& group, const WeightStorageOptions& options) {
  if (options.offload && !device_of(group).is_cpu()) return false;
  return group.size() == 1 || copies_weights(group, options);
}

std::unique_ptr<WeightStorage> make_weight_storage(const GroupPtr& group,
                                                   const std::vector<FsdpLayout>& layouts,
                                                   const WeightStorageOptions& options) {
  TESSERA_CHECK(!options.rest || casts_weights(*group, options), internal,
                "weights that ranks share, or that are offloaded, do not rest in another dtype");
  if (options.rest && group->size() == 1) {
    return std::make_unique<CastWeights>(*group, layouts, options.dtype, *options.rest);
  }
  if (!copies_weights(*group, options)) return std::make_unique<SharedWeights>(group, layouts, options.dtype);
  WeightStorageOptions own = options;
  own.offload = options.offload && !device_of(*group).is_cpu();
  return std::make_unique<CopiedWeights>(group, layouts, own);
}

}  // namespace tessera
