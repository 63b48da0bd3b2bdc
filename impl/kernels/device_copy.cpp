// Pinned, asynchronous copies.
#include "kernels/device_copy.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace tessera {
namespace {

thread_local std::vector<at::Tensor>* keeper = nullptr;

c10::Stream current_stream(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

at::Tensor sent_to(at::Device device, const at::Tensor& host) {
  if (device.is_cpu()) return host;
  // The caching host allocator keeps the pinned copy until the stream has passed.
  const at::Tensor pinned = device.is_cuda() ? host.pin_memory() : host;
  if (keeper != nullptr) keeper->push_back(pinned);
  return pinned.to(device, /*non_blocking=*/true);
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
  return at::empty(sizes, at::dtype(dtype).pinned_memory(device.is_cuda()));
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

PendingCopyPtr CopyStream::start(const at::Tensor& dst, const at::Tensor& src) const {
  c10::Event ready(device().type());
  ready.record(current_stream(device()));
  ready.block(stream_);
  c10::Event done(device().type());
  const c10::StreamGuard on_stream(stream_);
  at::Tensor(dst).copy_(src, /*non_blocking=*/true);
  done.record(stream_);
  return std::make_shared<PendingCopy>(dst, src, std::move(done));
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
