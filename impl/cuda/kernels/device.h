// What all CUDA kernels of this folder share: vectors of elements, sums over warps and blocks, and the
// launch.
//
// The kernels use a small part of CUDA C++ (static shared memory, block barriers, full-warp shuffles), so
// that the same files also compile for the CPU with tests/gpu/emulator.h, which runs their threads as fibers:
// that is how they are tested where there is no GPU.
#pragma once

#include <cstdint>

#include "kernels/cuda/geometry.h"
#include "kernels/cuda/table.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#define TESSERA_LAUNCH(grid, block, stream, kernel, ...) \
  kernel<<<grid, block, 0, static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__)
#else
#include "emulator.h"
#endif

namespace tessera::cuda {

using kernels::ceil_div;
using kernels::CudaType;
using kernels::RowLayout;

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

/// bfloat16 as memory holds it.
struct Bf16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(Bf16 x) {
#if defined(__CUDACC__)
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
#else
  return emulated_float(x.bits);
#endif
}

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
/// Round to nearest even.
template <>
__device__ __forceinline__ Bf16 from_float<Bf16>(float x) {
#if defined(__CUDACC__)
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#else
  return {emulated_bf16(x)};
#endif
}

/// N elements that are read and written as one access.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

/// Elements of a type in the widest access, 16 bytes.
template <class T>
inline constexpr int kPack = static_cast<int>(16 / sizeof(T));
/// Elements that a thread takes at a time where both types occur.
inline constexpr int kWide = kPack<Bf16>;

/// V elements from memory that is aligned to 16 bytes (or to V elements, when those are fewer bytes).
template <int V, class T>
__device__ __forceinline__ void load(const T* from, float (&to)[V]) {
  constexpr int kStep = V < kPack<T> ? V : kPack<T>;
#pragma unroll
  for (int i = 0; i < V; i += kStep) {
    const auto pack = *reinterpret_cast<const Pack<T, kStep>*>(from + i);
#pragma unroll
    for (int j = 0; j < kStep; ++j) to[i + j] = to_float(pack.v[j]);
  }
}
/// One access: nvcc makes the assignment one for each word where the values come out of branches or loops.
template <class T, int N>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
#if defined(__CUDACC__)
  if constexpr (sizeof(pack) == sizeof(uint4)) {
    __stwb(reinterpret_cast<uint4*>(to), __builtin_bit_cast(uint4, pack));
    return;
  }
#endif
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}
template <int V, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[V]) {
  constexpr int kStep = V < kPack<T> ? V : kPack<T>;
#pragma unroll
  for (int i = 0; i < V; i += kStep) {
    Pack<T, kStep> pack;
#pragma unroll
    for (int j = 0; j < kStep; ++j) pack.v[j] = from_float<T>(from[i + j]);
    store_pack(to + i, pack);
  }
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

/// Sum over the threads of a block whose size is a multiple of a warp; every thread gets it. `scratch` is
/// shared memory for one value per warp; it may hold values of an earlier sum that threads still read.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  const int warps = blockDim.x * blockDim.y / kWarp;
  x = warp_sum(x);
  __syncthreads();
  if (thread % kWarp == 0) scratch[thread / kWarp] = x;
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < warps; ++w) x += scratch[w];
  return x;
}

/// Whether all of these can be accessed in packs of `bytes`.
template <class... P>
bool aligned(int64_t bytes, P... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % static_cast<uintptr_t>(bytes) == 0) && ...);
}
template <class... N>
bool divides(int64_t by, N... numbers) {
  return ((static_cast<int64_t>(numbers) % by == 0) && ...);
}

/// f(T{}) for the element type.
template <class F>
int by_type(CudaType type, const F& f) {
  return type == CudaType::f32 ? f(float{}) : f(Bf16{});
}

/// A row of blocks. More than CUDA takes become a launch that it refuses, and not one of fewer.
inline dim3 grid_of(int64_t blocks) {
  return dim3(blocks <= 0x7fffffff ? static_cast<unsigned>(blocks) : 0x80000000u);
}

/// The result of the launches so far.
inline int launched() {
  return static_cast<int>(cudaGetLastError());
}

__device__ __forceinline__ int64_t row_offset(RowLayout l, int64_t row) {
  if (l.inner_count == 1) return row * l.outer_stride;
  return row / l.inner_count * l.outer_stride + row % l.inner_count * l.inner_stride;
}

__device__ __forceinline__ float quiet_nan() {
#if defined(__CUDACC__)
  return __uint_as_float(0x7fffffffu);
#else
  return __builtin_nanf("");
#endif
}

}  // namespace tessera::cuda
