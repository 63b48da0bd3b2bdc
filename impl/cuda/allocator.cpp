// Expandable segments of LibTorch's caching allocator.
#include "cuda/allocator.h"

#include <c10/core/AllocatorConfig.h>
#include <cuda.h>
#include <dlfcn.h>

#include <cstdio>
#include <exception>
#include <string>

namespace tessera::cuda {
namespace {

using Config = c10::CachingAllocator::AcceleratorAllocatorConfig;

/// Whether device 0 can map memory to addresses. The driver is the one that the CUDA runtime has loaded;
/// without it (or as part of a virtual GPU) LibTorch would fail at the first allocation.
bool maps_memory() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (driver == nullptr) return false;
  const auto get_device = reinterpret_cast<decltype(&cuDeviceGet)>(dlsym(driver, "cuDeviceGet"));
  const auto get_attribute =
      reinterpret_cast<decltype(&cuDeviceGetAttribute)>(dlsym(driver, "cuDeviceGetAttribute"));
  CUdevice device = 0;
  int supported = 0;
  const bool known =
      get_device != nullptr && get_attribute != nullptr && get_device(&device, 0) == CUDA_SUCCESS &&
      get_attribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, device) ==
          CUDA_SUCCESS;
  dlclose(driver);
  return known && supported != 0;
}

std::string turn_on(bool always) {
  if (Config::use_expandable_segments()) return "";
  const std::string given = c10::CachingAllocator::getAllocatorSettings();
  if (!always && given.find("expandable_segments") != std::string::npos)
    return "the process's allocator settings say so: " + given;
  if (given.find("cudaMallocAsync") != std::string::npos) return "the allocator is cudaMallocAsync";
  if (!maps_memory()) return "the driver or the GPU cannot map memory";
  // What is set replaces everything that was: the last word on a key counts.
  c10::CachingAllocator::setAllocatorSettings((given.empty() ? given : given + ",") +
                                              "expandable_segments:True");
  return "";
}

}  // namespace

bool use_expandable_segments(bool always, char* reason, std::size_t capacity) {
  std::string obstacle;
  try {
    obstacle = turn_on(always);
  } catch (const std::exception& error) {
    obstacle = error.what();
  }
  if (capacity > 0) std::snprintf(reason, capacity, "%s", obstacle.c_str());
  return obstacle.empty();
}

}  // namespace tessera::cuda
