// Copies from host memory to a device that neither side waits for.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace tessera {

/// `host` on `device`, in stream order; itself on the cpu. A GPU reads it from pinned memory, which is kept
/// until it has.
at::Tensor sent_to(at::Device device, const at::Tensor& host);
/// Small integers that the host has counted and a kernel needs.
at::Tensor sent_to(at::Device device, const std::vector<int64_t>& values, at::ScalarType dtype);

}  // namespace tessera
