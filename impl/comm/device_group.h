// A group whose ranks have a device each.
#pragma once

#include <ATen/ops/empty.h>

#include <utility>

#include "comm/group.h"

namespace tessera {

/// Takes tensors of the device, and those in host memory, which go through `control`: the same ranks' group
/// for it.
class DeviceGroup : public Group {
 public:
  at::Device device() const { return device_; }
  /// Collective: memory for tensors that the group's collectives read or write in every step.
  virtual at::Tensor allocate(int64_t bytes) {
    return at::empty({bytes}, at::dtype(at::kByte).device(device_));
  }

 protected:
  DeviceGroup(GroupPtr control, at::Device device)
      : Group(control->name(), control->rank(), control->world_ranks()),
        control_(std::move(control)),
        device_(device) {}

  static bool in_host_memory(const at::Tensor& tensor) {
    return tensor.defined() && tensor.device().is_cpu();
  }
  static bool in_host_memory(const std::vector<at::Tensor>& tensors) {
    return !tensors.empty() && in_host_memory(tensors[0]);
  }

  const GroupPtr control_;
  const at::Device device_;
};

}  // namespace tessera
