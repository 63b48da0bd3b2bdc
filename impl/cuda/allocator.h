// LibTorch's allocator of device memory.
#pragma once

#include <cstddef>

namespace tessera::cuda {

/// CudaPlugin::use_expandable_segments.
bool use_expandable_segments(bool always, char* reason, std::size_t capacity);

}  // namespace tessera::cuda
