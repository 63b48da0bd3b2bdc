// The table that libtessera_cuda.so hands to libtessera.so.
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "core/cuda_plugin.h"
#include "cuda/allocator.h"
#include "cuda/kernels/kernels.h"

namespace tessera {
namespace {

void copy_text(const char* text, char* out, size_t capacity) {
  if (capacity > 0) std::snprintf(out, capacity, "%s", text);
}

const char* versions() {
  static const std::string text = [] {
    int nccl = 0;
    ncclGetVersion(&nccl);
    return "LibTorch " + std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) +
           "." + std::to_string(TORCH_VERSION_PATCH) + ", CUDA " + std::to_string(CUDART_VERSION / 1000) +
           "." + std::to_string(CUDART_VERSION % 1000 / 10) + ", NCCL " + std::to_string(nccl / 10000) + "." +
           std::to_string(nccl % 10000 / 100) + "." + std::to_string(nccl % 100);
  }();
  return text.c_str();
}

int32_t device_count(char* reason, size_t capacity) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();  // clears the error, so that it does not surface in a later, unrelated call
    copy_text((std::string("no CUDA device: ") + cudaGetErrorString(status)).c_str(), reason, capacity);
    return 0;
  }
  if (count == 0) copy_text("no CUDA device in this machine", reason, capacity);
  return count;
}

bool device_info(int32_t device, char* name, size_t capacity, int64_t* total_bytes, int64_t* free_bytes) {
  cudaDeviceProp properties{};
  size_t total = 0, available = 0;
  cudaError_t status = cudaGetDeviceProperties(&properties, device);
  if (status == cudaSuccess) {
    try {
      // LibTorch's, which does not make a context on the device that was current before.
      const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
      status = cudaMemGetInfo(&available, &total);
    } catch (const std::exception&) {
      status = cudaErrorUnknown;
    }
  }
  if (status != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  copy_text(properties.name, name, capacity);
  *total_bytes = static_cast<int64_t>(total);
  *free_bytes = static_cast<int64_t>(available);
  return true;
}

int32_t capability(int32_t device) {
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return 10 * major + minor;
}

void* current_stream(int device) {
  return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream();
}

const kernels::CudaTable& kernel_table() {
  static const kernels::CudaTable table = [] {
    kernels::CudaTable all = cuda::kernel_table();
    all.current_stream = current_stream;
    return all;
  }();
  return table;
}

const CudaPlugin& plugin() {
  static const CudaPlugin plugin{kCudaPluginAbi,
                                 versions,
                                 device_count,
                                 device_info,
                                 &kernel_table(),
                                 capability,
                                 cuda::use_expandable_segments};
  return plugin;
}

}  // namespace
}  // namespace tessera

extern "C" __attribute__((visibility("default"))) const tessera::CudaPlugin* tessera_cuda_plugin() {
  // Pulls LibTorch's CUDA part in, so that ATen finds its CUDA hooks from the first operation on.
  static_cast<void>(c10::cuda::device_count());
  return &tessera::plugin();
}
