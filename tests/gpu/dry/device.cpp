// Pretended devices: an H100 as the runtime describes it, TESSERA_DRY_GPUS of them.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dry.h"

namespace dry {
namespace {

thread_local int device = 0;

cudaDeviceProp h100() {
  cudaDeviceProp p{};
  std::snprintf(p.name, sizeof p.name, "Dry H100 80GB");
  p.totalGlobalMem = size_t{79} << 30;
  p.sharedMemPerBlock = 48 << 10;
  p.regsPerBlock = 65536;
  p.warpSize = 32;
  p.memPitch = 2147483647;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 2147483647;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.totalConstMem = 64 << 10;
  p.major = 9;
  p.minor = 0;
  p.textureAlignment = 512;
  p.texturePitchAlignment = 32;
  p.multiProcessorCount = 132;
  p.canMapHostMemory = 1;
  p.concurrentKernels = 1;
  p.ECCEnabled = 1;
  p.asyncEngineCount = 3;
  p.unifiedAddressing = 1;
  p.memoryBusWidth = 5120;
  p.l2CacheSize = 50 << 20;
  p.persistingL2CacheMaxSize = 32 << 20;
  p.maxThreadsPerMultiProcessor = 2048;
  p.streamPrioritiesSupported = 1;
  p.globalL1CacheSupported = 1;
  p.localL1CacheSupported = 1;
  p.sharedMemPerMultiprocessor = 228 << 10;
  p.regsPerMultiprocessor = 65536;
  p.managedMemory = 1;
  p.concurrentManagedAccess = 1;
  p.computePreemptionSupported = 1;
  p.canUseHostPointerForRegisteredMem = 1;
  p.cooperativeLaunch = 1;
  p.sharedMemPerBlockOptin = 227 << 10;
  p.maxBlocksPerMultiProcessor = 32;
  p.reservedSharedMemPerBlock = 1 << 10;
  p.hostRegisterSupported = 1;
  p.memoryPoolsSupported = 1;
  p.ipcEventSupported = 1;
  p.clusterLaunch = 1;
  p.unifiedFunctionPointers = 1;
  p.hostNumaId = -1;
  return p;
}

int attribute(cudaDeviceAttr which, int* value) {
  const cudaDeviceProp& p = properties();
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxBlockDimX:
      *value = p.maxThreadsDim[0];
      break;
    case cudaDevAttrMaxBlockDimY:
      *value = p.maxThreadsDim[1];
      break;
    case cudaDevAttrMaxBlockDimZ:
      *value = p.maxThreadsDim[2];
      break;
    case cudaDevAttrMaxGridDimX:
      *value = p.maxGridSize[0];
      break;
    case cudaDevAttrMaxGridDimY:
      *value = p.maxGridSize[1];
      break;
    case cudaDevAttrMaxGridDimZ:
      *value = p.maxGridSize[2];
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = static_cast<int>(p.reservedSharedMemPerBlock);
      break;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      *value = p.regsPerBlock;
      break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = p.regsPerMultiprocessor;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = p.maxBlocksPerMultiProcessor;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrClockRate:
      *value = 1980000;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 2619000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = p.memoryBusWidth;
      break;
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrClusterLaunch:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrConcurrentKernels:
      *value = 1;
      break;
    default:
      *value = 0;
  }
  return *value;
}

cudaError_t known(int which, const char* call) {
  if (which >= 0 && which < device_count()) return cudaSuccess;
  return fail(cudaErrorInvalidDevice, "%s: device %d of %d", call, which, device_count());
}

}  // namespace

int device_count() {
  static const int count = [] {
    const char* text = std::getenv("TESSERA_DRY_GPUS");
    const int wanted = text != nullptr ? std::atoi(text) : 1;
    return wanted < 0 ? 0 : wanted > 64 ? 64 : wanted;
  }();
  return count;
}

int current_device() {
  return device;
}

const cudaDeviceProp& properties() {
  static const cudaDeviceProp all = h100();
  return all;
}

}  // namespace dry

using namespace dry;

DRY_API cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice, "cudaGetDeviceCount");
}

DRY_API cudaError_t cudaGetDevice(int* out) {
  *out = device;
  return cudaSuccess;
}

DRY_API cudaError_t cudaSetDevice(int which) {
  if (const auto error = known(which, "cudaSetDevice")) return error;
  device = which;
  return cudaSuccess;
}

DRY_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int which) {
  if (const auto error = known(which, "cudaGetDeviceProperties")) return error;
  *out = properties();
  out->pciBusID = which + 1;
  std::memset(out->uuid.bytes, which + 1, sizeof out->uuid.bytes);
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int of) {
  if (const auto error = known(of, "cudaDeviceGetAttribute")) return error;
  attribute(which, value);
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int which) {
  if (const auto error = known(which, "cudaDeviceGetPCIBusId")) return error;
  std::snprintf(text, static_cast<size_t>(length), "0000:%02x:00.0", which + 1);
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceCanAccessPeer(int* can, int from, int to) {
  *can = from != to;
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  return cudaSuccess;
}

DRY_API cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

DRY_API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

DRY_API cudaError_t cudaProfilerStart() {
  return cudaSuccess;
}

DRY_API cudaError_t cudaProfilerStop() {
  return cudaSuccess;
}

/// Functions of the driver are this library's own; what it has not is told as such.
DRY_API cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                                     unsigned long long,
                                                     cudaDriverEntryPointQueryResult* status) {
  static void* self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  *function = self != nullptr ? dlsym(self, symbol) : nullptr;
  if (*function == nullptr) log("missing %s", symbol);
  if (status != nullptr) {
    *status = *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  }
  return *function != nullptr || status != nullptr ? cudaSuccess
                                                   : fail(cudaErrorInvalidValue, "no %s", symbol);
}
