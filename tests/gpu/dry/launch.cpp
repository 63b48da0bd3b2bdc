// Kernels: registered with their names, and refused where a device would refuse their launch.
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "trace.h"

namespace dry {
namespace {

struct Kernel {
  std::string name;
  int dynamic_shared = 48 << 10;  // bytes allowed
};

struct Variable {
  size_t bytes = 0;
  std::map<int, void*> places;
};

struct Module {
  std::unordered_map<const void*, Kernel> kernels;
  std::unordered_map<const void*, Variable> variables;
};

Module& module() {
  static auto* all = new Module;
  return *all;
}

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

cudaError_t refuse(const Kernel& kernel, const char* why, long long value) {
  return fail(cudaErrorInvalidConfiguration, "launch of %s: %s %lld", kernel.name.c_str(), why, value);
}

/// The one result of kernels that the host reads to choose shapes: how many rows each expert has, found by a
/// search for the experts in the sorted choices. Choices are said to be spread evenly, the least being 0 and
/// the largest the last.
void answer(Stream& stream, const Kernel& kernel, void** arguments) {
  if (arguments == nullptr || kernel.name.find("searchsorted_cuda_kernelIll") == std::string::npos) return;
  const int64_t sorted = *static_cast<int64_t*>(arguments[5]), bounds = *static_cast<int64_t*>(arguments[6]);
  stream.answer.clear();
  for (int64_t i = 0; i < bounds; ++i) stream.answer.push_back(bounds > 1 ? sorted * i / (bounds - 1) : 0);
  stream.answer.push_back(0);
  stream.answer.push_back(bounds - 2);
}

/// Whether this launch is the one on device 0 that TESSERA_DRY_FAIL_LAUNCH counts to.
bool fails() {
  static const char* text = std::getenv("TESSERA_DRY_FAIL_LAUNCH");
  static long left = text != nullptr ? std::atol(text) : 0;
  return left > 0 && current_device() == 0 && --left == 0;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                   cudaStream_t stream, dim3 cluster) {
  listen();
  const Lock lock(guard());
  const auto at = module().kernels.find(function);
  if (at == module().kernels.end())
    return fail(cudaErrorInvalidDeviceFunction, "launch of an unknown kernel");
  const Kernel& kernel = at->second;
  const cudaDeviceProp& p = properties();
  const unsigned grids[] = {grid.x, grid.y, grid.z}, blocks[] = {block.x, block.y, block.z},
                 clusters[] = {cluster.x, cluster.y, cluster.z};
  for (int i = 0; i < 3; ++i) {
    if (grids[i] == 0 || grids[i] > static_cast<unsigned>(p.maxGridSize[i]))
      return refuse(kernel, "grid", grids[i]);
    if (blocks[i] == 0 || blocks[i] > static_cast<unsigned>(p.maxThreadsDim[i]))
      return refuse(kernel, "block", blocks[i]);
    if (clusters[i] == 0 || grids[i] % clusters[i] != 0) return refuse(kernel, "cluster", clusters[i]);
  }
  if (size_t{block.x} * block.y * block.z > 1024)
    return refuse(kernel, "threads", size_t{block.x} * block.y * block.z);
  if (cluster.x * cluster.y * cluster.z > 16) return refuse(kernel, "blocks in a cluster", cluster.x);
  if (shared > static_cast<size_t>(kernel.dynamic_shared))
    return refuse(kernel, "dynamic shared memory", static_cast<long long>(shared));
  Stream* s = find(stream);
  if (s == nullptr)
    return fail(cudaErrorInvalidResourceHandle, "launch of %s: no such stream", kernel.name.c_str());
  if (s->device != current_device()) {
    return fail(cudaErrorInvalidResourceHandle, "launch of %s on a stream of device %d", kernel.name.c_str(),
                s->device);
  }
  if (fails()) return quiet(cudaErrorLaunchOutOfResources);
  if (const auto error = enqueue(stream, kernel.name.c_str(), nullptr)) return error;
  trace_kernel(*s, kernel.name.c_str(), arguments);
  answer(*s, kernel, arguments);
  const auto graph = count_in_graph(stream);
  if (logging()) {
    log("launch %s grid=%u,%u,%u block=%u,%u,%u shared=%zu stream=%d%s", kernel.name.c_str(), grid.x, grid.y,
        grid.z, block.x, block.y, block.z, shared, s->id, graph != 0 ? " captured" : "");
  }
  return cudaSuccess;
}

void* place_of(const void* symbol) {
  const auto at = module().variables.find(symbol);
  if (at == module().variables.end()) return nullptr;
  void*& place = at->second.places[current_device()];
  if (place == nullptr) place = allocate(at->second.bytes, current_device());
  return place;
}

}  // namespace

const char* kernel_name(const void* function) {
  const auto at = module().kernels.find(function);
  return at != module().kernels.end() ? at->second.name.c_str() : nullptr;
}

}  // namespace dry

using namespace dry;

DRY_API void** __cudaRegisterFatBinary(void*) {
  static void* handles[1];
  return handles;
}

DRY_API void __cudaRegisterFatBinaryEnd(void**) {}
DRY_API void __cudaUnregisterFatBinary(void**) {}

DRY_API char __cudaInitModule(void**) {
  return 1;
}

DRY_API void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*,
                                    dim3*, dim3*, int*) {
  const Lock lock(guard());
  module().kernels[host].name = name;
}

DRY_API void __cudaRegisterVar(void**, char* host, char*, const char*, int, size_t bytes, int, int) {
  const Lock lock(guard());
  module().variables[host].bytes = bytes;
}

DRY_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

DRY_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

DRY_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (configurations.empty()) return fail(cudaErrorInvalidConfiguration, "no launch configuration");
  const Configuration& last = configurations.back();
  *grid = last.grid;
  *block = last.block;
  *shared = last.shared;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  configurations.pop_back();
  return cudaSuccess;
}

DRY_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                                       size_t shared, cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream, {1, 1, 1});
}

DRY_API cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                                     size_t shared, cudaStream_t stream) {
  return launch(function, grid, block, arguments, shared, stream, {1, 1, 1});
}

DRY_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                        void** arguments) {
  dim3 cluster{1, 1, 1};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const auto& attribute = config->attrs[i];
    if (attribute.id != cudaLaunchAttributeClusterDimension) continue;
    cluster = {attribute.val.clusterDim.x, attribute.val.clusterDim.y, attribute.val.clusterDim.z};
  }
  return launch(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
                config->stream, cluster);
}

DRY_API cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const Lock lock(guard());
  const auto at = module().kernels.find(function);
  if (at == module().kernels.end()) return fail(cudaErrorInvalidDeviceFunction, "cudaFuncSetAttribute");
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > properties().sharedMemPerBlockOptin) {
    return fail(cudaErrorInvalidValue, "cudaFuncSetAttribute of %s: %d bytes of shared memory",
                at->second.name.c_str(), value);
  }
  at->second.dynamic_shared = value;
  return cudaSuccess;
}

DRY_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* function) {
  const Lock lock(guard());
  const auto at = module().kernels.find(function);
  if (at == module().kernels.end()) return fail(cudaErrorInvalidDeviceFunction, "cudaFuncGetAttributes");
  *out = {};
  out->maxThreadsPerBlock = 1024;
  out->numRegs = 64;
  out->ptxVersion = out->binaryVersion = 90;
  out->maxDynamicSharedSizeBytes = at->second.dynamic_shared;
  return cudaSuccess;
}

DRY_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function,
                                                                           int threads, size_t shared,
                                                                           unsigned) {
  const Lock lock(guard());
  if (kernel_name(function) == nullptr || threads <= 0)
    return fail(cudaErrorInvalidDeviceFunction, "cudaOccupancy");
  const cudaDeviceProp& p = properties();
  *blocks = std::min(p.maxBlocksPerMultiProcessor, p.maxThreadsPerMultiProcessor / threads);
  if (shared > 0)
    *blocks = std::min(*blocks, static_cast<int>(p.sharedMemPerMultiprocessor / (shared + 1024)));
  return cudaSuccess;
}

DRY_API cudaError_t cudaGetSymbolAddress(void** out, const void* symbol) {
  const Lock lock(guard());
  *out = place_of(symbol);
  return *out != nullptr ? cudaSuccess : fail(cudaErrorInvalidSymbol, "cudaGetSymbolAddress");
}

DRY_API cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset,
                                       cudaMemcpyKind kind) {
  void* place = nullptr;
  {
    const Lock lock(guard());
    place = place_of(symbol);
  }
  if (place == nullptr) return fail(cudaErrorInvalidSymbol, "cudaMemcpyToSymbol");
  return cudaMemcpy(static_cast<char*>(place) + offset, from, bytes, kind);
}
