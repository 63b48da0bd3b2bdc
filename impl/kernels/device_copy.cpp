// Pinned, asynchronous copies.
#include "kernels/device_copy.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>

#include "core/caught.h"
#include "core/log.h"

namespace tessera {
namespace {

thread_local std::vector<at::Tensor>* keeper = nullptr;

/// How the allocator frees: one function for all of its memory.
std::atomic<at::DeleterFnPtr> free_pinned{nullptr};

void free_or_leave(void* context) {
  try {
    free_pinned.load()(context);
  } catch (const std::exception& error) {
    log_debug("pinned memory is left alone: ", text_of(error));
  }
}

/// Host memory as a copy that is pinned.
at::Tensor pinned(const at::Tensor& host) {
  const at::Tensor copy = host.pin_memory();
  return copy.is_same(host) ? copy : freed_quietly(copy);
}

c10::Stream current_stream(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// A copy that nobody has waited for, of a step that failed, still reads and writes memory that others get
/// once it is forgotten: the current stream waits for it.
void forget(PendingCopy* copy) {
  try {
    if (!copy->done()) copy->wait();
  } catch (const std::exception& error) {  // of a device that has failed, on which nothing runs any more
    log_debug("a copy is left alone: ", text_of(error));
  }
  delete copy;
}

}  // namespace

at::Tensor sent_to(at::Device device, const at::Tensor& host) {
  if (device.is_cpu()) return host;
  // The caching host allocator keeps the pinned copy until the stream has passed.
  const at::Tensor source = device.is_cuda() ? pinned(host) : host;
  if (keeper != nullptr) keeper->push_back(source);
  return source.to(device, /*non_blocking=*/true);
}

at::Tensor sent_to(at::Device device, const std::vector<int64_t>& values, at::ScalarType dtype) {
  return sent_to(device, at::tensor(values, at::dtype(dtype)));
}

KeepSent::KeepSent(std::vector<at::Tensor>& kept) {
  keeper = &kept;
}
KeepSent::~KeepSent() {
  keeper = nullptr;
}

at::Tensor host_memory_of(at::Device device, at::IntArrayRef sizes, at::ScalarType dtype) {
  if (!device.is_cuda()) return at::empty(sizes, dtype);
  return freed_quietly(at::empty(sizes, at::dtype(dtype).pinned_memory(true)));
}

at::Tensor freed_quietly(at::Tensor memory) {
  at::DataPtr& data = memory.storage().unsafeGetStorageImpl()->_mutable_data_ptr_no_checks();
  const at::DeleterFnPtr free = data.get_deleter();
  if (free == nullptr || free == &free_or_leave || data.get_context() == nullptr) return memory;
  free_pinned.store(free);
  static_cast<void>(data.compare_exchange_deleter(free, &free_or_leave));
  return memory;
}

void PendingCopy::wait() {
  done_.block(current_stream(done_.device()));
  src_.reset();
}

void PendingCopy::finish() {
  done_.synchronize();
  src_.reset();
}

CopyStream::CopyStream(at::Device device)
    : stream_(c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, true)) {}

void CopyStream::follow() const {
  c10::Event ready(device().type());
  ready.record(current_stream(device()));
  ready.block(stream_);
}

PendingCopyPtr CopyStream::start(const at::Tensor& dst, const at::Tensor& src) const {
  follow();
  c10::Event done(device().type());
  const c10::StreamGuard on_stream(stream_);
  at::Tensor(dst).copy_(src, /*non_blocking=*/true);
  done.record(stream_);
  return {new PendingCopy(dst, src, std::move(done)), forget};
}

void CopyWindow::add(PendingCopyPtr copy) {
  latest_ = copy;
  under_way_.push_back(std::move(copy));
  while (under_way_.size() > most_) {
    under_way_.front()->wait();
    under_way_.pop_front();
  }
}

void CopyWindow::finish() {
  if (latest_) latest_->finish();
  latest_.reset();
  under_way_.clear();
}

}  // namespace tessera
