// Kernels that a program compiles while it runs, by ATen's jiterator or Triton, and loads through the driver.
#include <cuda.h>

#include "dry.h"

using namespace dry;

namespace {

struct Function {
  std::string name;
  int dynamic_shared = 48 << 10;
};

Function& of(CUfunction function) {
  return *reinterpret_cast<Function*>(function);
}

CUresult launch(const Function& function, dim3 grid, dim3 block, unsigned shared, CUstream stream) {
  const Lock lock(guard());
  const cudaDeviceProp& p = properties();
  const bool fits =
      grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= static_cast<unsigned>(p.maxGridSize[0]) &&
      grid.y <= static_cast<unsigned>(p.maxGridSize[1]) &&
      grid.z <= static_cast<unsigned>(p.maxGridSize[2]) && block.x * block.y * block.z > 0 &&
      block.x * block.y * block.z <= 1024 && shared <= static_cast<unsigned>(function.dynamic_shared);
  if (!fits) {
    fail(cudaErrorInvalidConfiguration, "launch of %s: grid %u %u %u, block %u, shared %u",
         function.name.c_str(), grid.x, grid.y, grid.z, block.x * block.y * block.z, shared);
    cudaGetLastError();
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (enqueue(stream, function.name.c_str(), nullptr) != cudaSuccess) return CUDA_ERROR_INVALID_VALUE;
  const auto graph = count_in_graph(stream);
  log("launch %s grid=%u,%u,%u block=%u,%u,%u shared=%u stream=%d%s", function.name.c_str(), grid.x, grid.y,
      grid.z, block.x, block.y, block.z, shared, find(stream)->id, graph != 0 ? " captured" : "");
  return CUDA_SUCCESS;
}

}  // namespace

DRY_API CUresult cuModuleLoadData(CUmodule* module, const void*) {
  log("compiled");
  *module = reinterpret_cast<CUmodule>(new int);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*, void**) {
  return cuModuleLoadData(module, image);
}

DRY_API CUresult cuModuleLoad(CUmodule* module, const char*) {
  return cuModuleLoadData(module, nullptr);
}

DRY_API CUresult cuModuleUnload(CUmodule module) {
  delete reinterpret_cast<int*>(module);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  *function = reinterpret_cast<CUfunction>(new Function{name});
  return CUDA_SUCCESS;
}

DRY_API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
           : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 64
                                                                : 0;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS;
  if (value < 0 || static_cast<size_t>(value) > properties().sharedMemPerBlockOptin)
    return CUDA_ERROR_INVALID_VALUE;
  of(function).dynamic_shared = value;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) {
  return CUDA_SUCCESS;
}

DRY_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int threads, size_t) {
  *blocks = threads > 0 ? 2048 / threads : 1;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction, const CUlaunchConfig*) {
  *clusters = 64;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned block_x,
                                unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void**,
                                void**) {
  return launch(of(function), {x, y, z}, {block_x, block_y, block_z}, shared, stream);
}

DRY_API CUresult cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction function, void**, void**) {
  return launch(of(function), {c->gridDimX, c->gridDimY, c->gridDimZ},
                {c->blockDimX, c->blockDimY, c->blockDimZ}, c->sharedMemBytes, c->hStream);
}
