// Transfers between pipeline stages.
#include "schedule/transfers.h"

#include <ATen/ops/empty.h>

#include "comm/device_world.h"
#include "core/error.h"

namespace tessera {
namespace {

// A peer posts a receive before it waits for anything that is sent later, so waiting for the oldest send
// never closes a circle; the bound keeps memory small.
constexpr size_t kMostSends = 8;

constexpr int kTag = 0;

}  // namespace

void PipelineTransfers::send(const Instruction& now, const at::Tensor& tensor) {
  TESSERA_CHECK(tensor.defined(), internal, to_text(now), ": there is nothing to send");
  const at::Tensor dense = tensor.contiguous();
  sent_.push_back({dense, group_->send(dense, now.peer, kTag)});
  while (sent_.size() > kMostSends) {
    sent_.front().work->wait();
    sent_.pop_front();
  }
}

void PipelineTransfers::receive(const Instruction& now, at::IntArrayRef shape, at::ScalarType dtype) {
  const at::Tensor tensor = at::empty(shape, at::dtype(dtype).device(device_of(*group_)));
  arriving_[{now.op, now.unit, now.microbatch}] = {tensor, group_->recv(tensor, now.peer, kTag)};
}

at::Tensor PipelineTransfers::take(Op op, int unit, int microbatch) {
  const auto found = arriving_.find({op, unit, microbatch});
  if (found == arriving_.end()) return {};
  found->second.work->wait();
  at::Tensor tensor = std::move(found->second.tensor);
  arriving_.erase(found);
  return tensor;
}

void PipelineTransfers::finish() {
  for (const Arrival& sent : sent_) sent.work->wait();
  sent_.clear();
}

}  // namespace tessera
