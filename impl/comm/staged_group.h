// Collectives on device tensors through host memory: for ranks that share a GPU, which NCCL refuses, and for
// tests.
#pragma once

#include "comm/device_group.h"

namespace tessera {

/// Every operation copies its inputs to host memory when it starts and its outputs back when it is waited
/// for, so nothing overlaps, and outputs are written only where somebody waits.
class StagedGroup final : public DeviceGroup {
 public:
  StagedGroup(GroupPtr control, at::Device device) : DeviceGroup(std::move(control), device) {}

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
};

}  // namespace tessera
