// Unsharded gradient buffers, their reduction over the group, and the shards.
#include "parallel/gradient_storage.h"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>

#include <algorithm>

#include "comm/device_world.h"
#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/multi_tensor.h"

namespace tessera {
namespace {

// A third buffer of a size lets a rank go on while peers still read the first of two.
constexpr int kBuffersOfASize = 3;

// Leaves a tensor and its views without memory.
void give_back(const at::Tensor& tensor) {
  c10::Storage storage = tensor.storage();
  storage.set_data_ptr(at::DataPtr(nullptr, tensor.device()));
  storage.set_nbytes(0);
}

// Gives them memory again, of no particular values.
void take_again(const at::Tensor& tensor) {
  c10::Storage storage = tensor.storage();
  if (storage.nbytes() > 0 || tensor.numel() == 0) return;
  const auto bytes = static_cast<size_t>(tensor.numel()) * tensor.element_size();
  storage.set_data_ptr(storage.allocator()->allocate(bytes));
  storage.set_nbytes(bytes);
}

}  // namespace

GradientStorage::GradientStorage(GroupPtr group, GroupPtr replicas, const std::vector<FsdpLayout>& layouts,
                                 const GradientOptions& options)
    : group_(std::move(group)),
      replicas_(std::move(replicas)),
      layouts_(layouts),
      options_(options),
      units_(layouts.size()) {
  if (replicas_ && replicas_->size() == 1) replicas_ = nullptr;
  const at::Device device = device_of(*group_);
  if (options_.offload && !device.is_cpu()) download_ = std::make_unique<CopyStream>(device);
  returns_ = !device.is_cpu() && !download_ && !options_.keep;
  for (size_t u = 0; u < layouts.size(); ++u) {
    const std::vector<int64_t> size = {layouts[u].shard_numel};
    units_[u].shard = download_ ? host_memory_of(device, size, at::kFloat).zero_()
                                : kernels::zeros(size, at::dtype(at::kFloat).device(device));
    units_[u].written.assign(layouts[u].params.size(), false);
  }
}

GradientStorage::~GradientStorage() = default;

void GradientStorage::begin(bool accumulate) {
  dtype_ = accumulate ? at::kFloat : options_.compute;
  reductions_ += 2;  // all buffers have rested since the last step
  for (UnitState& state : units_) {
    state.current_written = false;
    if (alone()) state.written.assign(state.written.size(), false);
    if (returns_ && empty_) give_back(state.shard);
    if (!download_) {
      state.current = empty_ ? state.shard : at::empty(state.shard.sizes(), state.shard.options());
      continue;
    }
    state.current.reset();
    state.home = empty_ ? state.shard : host_memory_of(download_->device(), state.shard.sizes(), at::kFloat);
  }
}

bool GradientStorage::trains(int unit) const {
  const std::vector<FsdpParam>& params = layouts_[unit].params;
  return std::any_of(params.begin(), params.end(), [](const FsdpParam& p) { return p.spec.trainable; });
}

void GradientStorage::make_current(int unit) {
  UnitState& state = units_[unit];
  if (state.current.defined()) return take_again(state.current);
  TESSERA_CHECK(!state.current_written, internal, "a gradient is reduced after it was offloaded");
  state.current = at::empty(state.shard.sizes(), at::dtype(at::kFloat).device(download_->device()));
}

void GradientStorage::offload(int unit) {
  UnitState& state = units_[unit];
  if (!download_ || !state.current.defined()) return;
  leaving_.add(download_->start(state.home, state.current));
  state.current.reset();
}

// Offloaded gradients end up where this thread can read them.
void GradientStorage::bring_home() {
  if (!download_) return;
  for (size_t unit = 0; unit < units_.size(); ++unit) offload(static_cast<int>(unit));
  leaving_.finish();
  for (UnitState& state : units_) state.current = std::move(state.home);
}

// One collective a step for all small parameters that tp ranks hold copies of.
void GradientStorage::sum_partial() {
  for (const PartialGradients& partial : options_.partial) {
    std::vector<at::Tensor> shards;
    for (const auto& [unit, param] : partial.params) {
      const FsdpParam& what = layouts_[unit].params[param];
      if (!units_[unit].current_written || what.shard.padded_numel() == 0) continue;
      shards.push_back(what.padded_chunk(units_[unit].current));
    }
    if (!shards.empty()) partial.group->all_reduce(shards, ReduceOp::sum)->wait();
  }
}

void GradientStorage::end() {
  bring_home();
  sum_partial();
  std::vector<at::Tensor> shards, steps;
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    UnitState& state = units_[unit];
    // Units whose parameters are all frozen were never reduced.
    if (!empty_ && state.current_written) {
      shards.push_back(state.shard);
      steps.push_back(state.current);
    }
    if (empty_ && !state.current_written && trains(static_cast<int>(unit))) {
      take_again(state.shard);
      kernels::zero(state.shard);
    }
    state.current.reset();
  }
  kernels::add_all(shards, steps);
  empty_ = false;
}

void GradientStorage::abandon() {
  for (UnitState& state : units_) {
    state.work.reset();
    state.replica_work.reset();
    state.full.reset();
    state.buffer = {};
    state.source.reset();
    state.scratch.reset();
    state.current.reset();
    state.home.reset();
    state.written.assign(state.written.size(), false);
  }
  if (download_) leaving_.finish();
  // Buffers that peers may still read are not used again.
  pool_.clear();
  made_.clear();
  zero();
}

void GradientStorage::assume_reduced() {
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    for (const FsdpParam& param : layouts_[unit].params) units_[unit].current_written |= param.spec.trainable;
  }
}

void GradientStorage::zero() {
  empty_ = true;
}

at::Tensor GradientStorage::shard(int unit, size_t param) const {
  return layouts_[unit].params[param].chunk(units_[unit].shard);
}

at::Tensor GradientStorage::padded_shard(int unit, size_t param) const {
  return layouts_[unit].params[param].padded_chunk(units_[unit].shard);
}

// Which buffer a round gets depends on the program alone, so that ranks make new (collective) ones at the
// same time.
GradientStorage::Buffer GradientStorage::acquire(int64_t bytes) {
  std::deque<Buffer>& free = pool_[bytes];
  const bool rested = !free.empty() && free.front().freed_at + 1 < reductions_;
  if (!free.empty() && (rested || made_[bytes] >= kBuffersOfASize)) {
    Buffer buffer = std::move(free.front());
    free.pop_front();
    if (buffer.readers) buffer.readers->wait();
    buffer.readers.reset();
    return buffer;
  }
  ++made_[bytes];
  buffer_bytes_ += bytes;
  const bool symmetric = group_->size() > 1 && group_->shares_memory();
  Buffer buffer;
  buffer.bytes = symmetric ? group_->allocate_symmetric(bytes).blocks[group_->rank()]
                           : collective_memory(*group_, bytes);
  return buffer;
}

void GradientStorage::open_round(int unit) {
  UnitState& state = units_[unit];
  state.buffer = acquire(layouts_[unit].full_numel * static_cast<int64_t>(c10::elementSize(dtype_)));
  state.full = state.buffer.bytes.view(dtype_);
}

void GradientStorage::open(int unit) {
  if (alone()) return make_current(unit);
  if (!units_[unit].full.defined()) open_round(unit);
}

at::Tensor GradientStorage::target(int unit, size_t param, bool& first) {
  open(unit);
  UnitState& state = units_[unit];
  first = !state.written[param];
  state.written[param] = true;
  // One rank's shard is laid out as the full buffer.
  return layouts_[unit].params[param].weight(alone() ? state.current : state.full);
}

void GradientStorage::reduce(int unit) {
  UnitState& state = units_[unit];
  const FsdpLayout& layout = layouts_[unit];
  open(unit);
  for (size_t i = 0; i < layout.params.size(); ++i) {
    if (state.written[i] || !layout.params[i].spec.trainable) continue;
    bool first = false;
    kernels::zero(target(unit, i, first));
  }
  if (alone()) {
    state.current_written = true;
    return;
  }
  state.written.assign(state.written.size(), false);
  ++reductions_;
  make_current(unit);

  const bool narrow = options_.reduce != at::kFloat;
  const at::Tensor source = narrow && dtype_ != options_.reduce ? state.full.to(options_.reduce) : state.full;
  if (!source.is_same(state.full)) state.source = source;
  const bool direct = !narrow && !state.current_written;
  at::Tensor destination = state.current;
  if (!direct) {
    state.scratch = at::empty(state.current.sizes(), state.current.options().dtype(options_.reduce));
    destination = state.scratch;
  }
  std::vector<at::Tensor> ins;
  std::vector<at::Tensor> outs;
  for (const FsdpParam& param : layout.params) {
    if (!param.spec.trainable || param.full_numel() == 0) continue;
    ins.push_back(param.all_chunks(source));
    outs.push_back(param.padded_chunk(destination));
  }
  state.work = group_->reduce_scatter(outs, ins, ReduceOp::sum);
}

// Hands the unsharded buffer back; peers may still be reading it.
void GradientStorage::finish_round(UnitState& state) {
  state.buffer.readers = std::move(state.work);
  state.buffer.freed_at = reductions_;
  state.full.reset();
  const int64_t bytes = state.buffer.bytes.numel();
  pool_[bytes].push_back(std::move(state.buffer));
  state.buffer = {};
}

void GradientStorage::wait_reduce(int unit) {
  if (alone()) return;
  UnitState& state = units_[unit];
  if (state.work && state.source.defined()) state.work->wait();
  if (state.work) state.work->wait_output();
  state.source.reset();
  if (state.scratch.defined()) {
    if (state.current_written) {
      kernels::add_to(state.current, state.scratch);
    } else {
      kernels::cast_copy(state.current, state.scratch);
    }
    state.scratch.reset();
  }
  state.current_written = true;
  finish_round(state);
}

void GradientStorage::reduce_replicas(int unit) {
  if (replicas_) units_[unit].replica_work = replicas_->all_reduce({units_[unit].current}, ReduceOp::sum);
}

void GradientStorage::wait_replicas(int unit) {
  UnitState& state = units_[unit];
  if (state.replica_work) state.replica_work->wait();
  state.replica_work.reset();
}

}  // namespace tessera
