// The CUDA plugin, libtessera_cuda.so: all code that needs LibTorch's CUDA libraries, loaded when it is
// installed beside libtessera.so. The core neither builds against CUDA nor needs it to load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tessera {

namespace kernels {
struct CudaTable;
}

/// What the plugin offers; plain C so that the two libraries can be built apart. Grows only at the end.
struct CudaPlugin {
  int32_t abi;                ///< kCudaPluginAbi of the plugin's build
  const char* (*versions)();  ///< static text: "LibTorch 2.11.0, CUDA 13.0, NCCL 2.28.9"
  /// Devices that can be used; 0 when there are none or no driver, and then `reason` says why.
  int32_t (*device_count)(char* reason, size_t capacity);
  /// Name and memory of a device; false when there is no such device.
  bool (*device_info)(int32_t device, char* name, size_t capacity, int64_t* total_bytes, int64_t* free_bytes);
  const kernels::CudaTable* kernels;  ///< kernels/cuda/table.h
  /// Compute capability of a device, 10 * major + minor; 0 when there is no such device.
  int32_t (*capability)(int32_t device);
  /// Lets LibTorch's allocator map device memory into segments that grow, for the whole process; not where
  /// the process's own settings (PYTORCH_ALLOC_CONF) decide on it, unless `always`. False with a `reason`
  /// when it does not. Comes before the first tensor on a device.
  bool (*use_expandable_segments)(bool always, char* reason, size_t capacity);
};
inline constexpr int32_t kCudaPluginAbi = 4;
inline constexpr const char* kCudaPluginSymbol = "tessera_cuda_plugin";

/// Loads the plugin once for the process, or finds that it is not there. Has to come before the first tensor
/// operation: ATen asks once whether it knows CUDA and remembers the answer, so a plugin that comes later can
/// never be used. Thread-safe, does not throw; null without plugin.
const CudaPlugin* cuda_plugin();

/// A further entry of the loaded plugin, or null.
void* cuda_plugin_symbol(const char* name);

/// Compute capability of a GPU, 90 for 9.0; 0 where there is none.
int cuda_capability(int device);
/// The oldest GPUs that the plugin has code for (A100).
inline constexpr int kOldestCudaCapability = 80;

/// Why device "cuda" cannot be used here, or an empty text when it can.
std::string cuda_unavailable_reason();

}  // namespace tessera
