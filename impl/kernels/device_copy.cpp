// Pinned, asynchronous copies to devices.
#include "kernels/device_copy.h"

#include <ATen/ops/tensor.h>

namespace tessera {

at::Tensor sent_to(at::Device device, const at::Tensor& host) {
  if (device.is_cpu()) return host;
  // The caching host allocator keeps the pinned copy until the stream has passed.
  return (device.is_cuda() ? host.pin_memory() : host).to(device, /*non_blocking=*/true);
}

at::Tensor sent_to(at::Device device, const std::vector<int64_t>& values, at::ScalarType dtype) {
  return sent_to(device, at::tensor(values, at::dtype(dtype)));
}

}  // namespace tessera
