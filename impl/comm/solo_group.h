// The group of one rank on a device: nobody to talk to, so outputs are copies of inputs.
#pragma once

#include "comm/device_group.h"

namespace tessera {

/// Work is queued on the current stream. Messages are argument errors, as no other rank is there.
class SoloGroup final : public DeviceGroup {
 public:
  SoloGroup(GroupPtr control, at::Device device) : DeviceGroup(std::move(control), device) {}

  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override;
  WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                         ReduceOp op) override;
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override;
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in, const std::vector<int64_t>& out_splits,
                     const std::vector<int64_t>& in_splits) override;
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override;
  WorkPtr send(const at::Tensor& tensor, int destination, int tag) override;
  WorkPtr recv(const at::Tensor& tensor, int source, int tag) override;
  void barrier() override;

 private:
  at::Device where(const std::vector<at::Tensor>& tensors) const;
};

}  // namespace tessera
