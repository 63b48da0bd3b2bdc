// CUDA C++ for the CPU, as much of it as the kernels in impl/cuda/kernels use: a launch runs block after
// block, and the threads of a block as fibers that switch at barriers and warp shuffles. Finds what a GPU
// would punish with a hang or with nothing: barriers that are missing or that not all threads reach, shuffles
// that a lane has left, launches of no or too many threads. Built with AddressSanitizer, it also finds
// accesses outside memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
using cudaStream_t = void*;
using cudaError_t = int;

namespace tessera::cuda {

/// Runs `thread` for every thread of the grid. A launch that CUDA would refuse sets the error that
/// cudaGetLastError returns. Throws std::logic_error for a deadlock of threads.
void emulate(dim3 grid, dim3 block, const std::function<void()>& thread);

/// Blocks until all threads of the block, or all lanes of the warp, are there.
void emulated_block_barrier();
void emulated_warp_barrier();
/// Where lanes of the calling warp leave a value for each other; alternates between calls.
uint64_t* emulated_warp_slots();
int emulated_lane();

inline float emulated_float(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
inline uint16_t emulated_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace tessera::cuda

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

int cudaGetLastError();
inline const char* cudaGetErrorString(int error) {
  return error == 9 ? "invalid configuration argument" : "no error";
}

inline void __syncthreads() {
  tessera::cuda::emulated_block_barrier();
}

template <class T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int offset) {
  uint64_t* slots = tessera::cuda::emulated_warp_slots();
  const int lane = tessera::cuda::emulated_lane();
  std::memcpy(&slots[lane], &value, sizeof value);
  tessera::cuda::emulated_warp_barrier();
  std::memcpy(&value, &slots[lane ^ offset], sizeof value);
  return value;
}
template <class T>
T __shfl_up_sync(unsigned /*mask*/, T value, unsigned offset) {
  uint64_t* slots = tessera::cuda::emulated_warp_slots();
  const int lane = tessera::cuda::emulated_lane();
  std::memcpy(&slots[lane], &value, sizeof value);
  tessera::cuda::emulated_warp_barrier();
  if (lane >= static_cast<int>(offset))
    std::memcpy(&value, &slots[lane - static_cast<int>(offset)], sizeof value);
  return value;
}

#define TESSERA_LAUNCH(grid, block, stream, kernel, ...) \
  tessera::cuda::emulate(grid, block, [&] { kernel(__VA_ARGS__); })
