// User-buffer registration with NCCL.
#include "comm/nccl_memory.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "comm/current_device.h"
#include "core/log.h"

namespace tessera {
namespace {

/// Of the memory that CUDA maps: what ncclMemAlloc rounds up to.
constexpr int64_t kGranularity = int64_t{2} << 20;

bool all_agree(Group& control, bool mine) {
  const at::Tensor vote = at::full({1}, mine ? 1 : 0, at::dtype(at::kInt));
  control.all_reduce({vote}, ReduceOp::min)->wait();
  return *vote.const_data_ptr<int>() == 1;
}

}  // namespace

bool NcclMemory::agree(Group& control, NcclLink& link) {
  return all_agree(control, link.registers(control.world_ranks()));
}

NcclMemory::NcclMemory(std::string group, const std::shared_ptr<NcclLink>& link,
                       std::shared_ptr<NcclComm> comm)
    : group_(std::move(group)),
      link_(link),
      comm_(std::move(comm)),
      nccl_(link->nccl()),
      cuda_(link->cuda()),
      device_(link->device()) {}

// Tensors keep this alive, so none is left.
NcclMemory::~NcclMemory() {
  free_unused();
}

NcclMemory::Block NcclMemory::make(int64_t bytes, std::string& reason) {
  Block block;
  block.bytes = (bytes + kGranularity - 1) / kGranularity * kGranularity;
  const CurrentDevice on_device(device_);
  int result = nccl_.memory_new(&block.memory, static_cast<size_t>(bytes));
  if (result != kNcclSuccess) {
    // What LibTorch holds without using it may be in the way.
    c10::getDeviceAllocator(device_.type())->emptyCache();
    result = nccl_.memory_new(&block.memory, static_cast<size_t>(bytes));
  }
  if (result != kNcclSuccess) {
    reason = cat(bytes, " bytes cannot be allocated: ", nccl_.error_text(result));
    return {};
  }
  try {
    block.handle = comm_->attach(block.memory, static_cast<size_t>(bytes));
    if (block.handle != nullptr) {
      if (const auto link = link_.lock()) link->own_bytes() += block.bytes;
      return block;
    }
    reason = "nccl registers nothing here (NCCL_LOCAL_REGISTER)";
  } catch (const Error& error) {
    reason = error.what();
  }
  nccl_.memory_free(block.memory);
  return {};
}

at::Tensor NcclMemory::allocate(Group& control, int64_t bytes) {
  free_unused();
  if (!enabled_) return {};
  std::string reason = "another rank cannot";
  const Block block = make(bytes, reason);
  bool all = false;
  try {
    all = all_agree(control, block.memory != nullptr);
  } catch (...) {
    free(block);
    throw;
  }
  if (!all) {
    free(block);
    enabled_ = false;
    log_at(LogLevel::warning, cat("group ", group_, " goes on without registered buffers: ", reason));
    return {};
  }
  return at::for_blob(block.memory, {bytes})
      .deleter([self = shared_from_this(), block](void*) { self->give_back(block); })
      .options(at::dtype(at::kByte).device(device_))
      .target_device(device_)
      .make_tensor();
}

void NcclMemory::give_back(const Block& block) noexcept {
  const auto link = link_.lock();
  if (!link || !link->on_watchdog()) return free(block);
  const std::lock_guard lock(mutex_);
  unused_.push_back(block);
}

// Kernels that were queued may still read it: NCCL's memory knows nothing of streams.
void NcclMemory::free(const Block& block) noexcept {
  if (block.memory == nullptr) return;
  cuda_.await_device(device_.index());
  comm_->detach(block.handle);
  const CurrentDevice on_device(device_);
  nccl_.memory_free(block.memory);
  if (const auto link = link_.lock()) link->own_bytes() -= block.bytes;
}

void NcclMemory::free_unused() noexcept {
  std::list<Block> unused;
  {
    const std::lock_guard lock(mutex_);
    unused.swap(unused_);
  }
  for (const Block& block : unused) free(block);
}

}  // namespace tessera
