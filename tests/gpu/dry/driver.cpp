// What LibTorch asks the driver for, beside the mapping of memory (memory.cpp).
#include <cuda.h>

#include <cstring>

#include "dry.h"

using namespace dry;

DRY_API CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = error == CUDA_SUCCESS               ? "no error"
          : error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory"
                                              : "invalid argument";
  return CUDA_SUCCESS;
}

DRY_API CUresult cuGetErrorName(CUresult error, const char** text) {
  return cuGetErrorString(error, text);
}

DRY_API CUresult cuInit(unsigned) {
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDeviceGetCount(int* count) {
  *count = device_count();
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < device_count() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

DRY_API CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  // Both interfaces number attributes alike.
  return cudaDeviceGetAttribute(value, static_cast<cudaDeviceAttr>(attribute), device) == cudaSuccess
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_DEVICE;
}

/// Contexts are devices, counted from one.
DRY_API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  *context = reinterpret_cast<CUcontext>(static_cast<intptr_t>(device) + 1);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuCtxGetCurrent(CUcontext* context) {
  return cuDevicePrimaryCtxRetain(context, current_device());
}

DRY_API CUresult cuCtxSetCurrent(CUcontext context) {
  if (context != nullptr) cudaSetDevice(static_cast<int>(reinterpret_cast<intptr_t>(context)) - 1);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuPointerGetAttribute(void* out, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const Lock lock(guard());
  const int device = device_of(reinterpret_cast<void*>(pointer));
  if (device < 0) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *static_cast<int*>(out) = device;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      return cuDevicePrimaryCtxRetain(static_cast<CUcontext*>(out), device);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *static_cast<CUdeviceptr*>(out) = pointer;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

/// The rules of the driver for descriptors of tiles, as its documentation lists them.
DRY_API CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                        void* address, const cuuint64_t* sizes, const cuuint64_t* strides,
                                        const cuuint32_t* box, const cuuint32_t* steps, CUtensorMapInterleave,
                                        CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  std::memset(map, 0, sizeof *map);
  const auto wrong = [&](const char* what, unsigned long long value) {
    fail(cudaErrorInvalidValue, "cuTensorMapEncodeTiled: %s %llu, type %d, rank %u", what, value, type, rank);
    return CUDA_ERROR_INVALID_VALUE;
  };
  if (rank < 1 || rank > 5) return wrong("rank", rank);
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0)
    return wrong("address", reinterpret_cast<uintptr_t>(address));
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (sizes[i] == 0 || sizes[i] > (1ull << 32)) return wrong("size", sizes[i]);
    if (box[i] == 0 || box[i] > 256) return wrong("box", box[i]);
    if (steps[i] == 0 || steps[i] > 8) return wrong("step", steps[i]);
    if (i + 1 < rank && (strides[i] % 16 != 0 || strides[i] >= (1ull << 40)))
      return wrong("stride", strides[i]);
  }
  return CUDA_SUCCESS;
}

DRY_API CUresult cuStreamWriteValue32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned) {
  const Lock lock(guard());
  void* place = reach(reinterpret_cast<void*>(address), sizeof value);
  if (place == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, "cuStreamWriteValue32", [=] { std::memcpy(place, &value, sizeof value); }) ==
                 cudaSuccess
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}

/// NVRTC asks for private tables and does without.
DRY_API CUresult cuGetExportTable(const void** table, const CUuuid*) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

/// Limits of a context, the size of the buffer of printf among them.
DRY_API CUresult cuCtxGetLimit(size_t* value, CUlimit) {
  *value = 1 << 20;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuCtxSetLimit(CUlimit, size_t) {
  return CUDA_SUCCESS;
}
