// CUDA C++ for the CPU, as much of it as the kernels in impl/cuda/kernels use: a launch runs block after
// block, and the threads of a block as fibers that switch at barriers and warp shuffles. Finds what a GPU
// would punish with a hang or with nothing: barriers that are missing or that not all threads reach, shuffles
// that a lane has left, launches of no or too many threads. Built with AddressSanitizer, it also finds
// accesses outside memory.
#pragma once

#include <algorithm>
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

/// Float8 with so many bits of mantissa and such an exponent bias, as CUDA converts: round to nearest even,
/// what is beyond `largest` cut to it, NaN 0x7f.
inline uint8_t emulated_float8(float value, int mantissa, int bias, float largest) {
  if (std::isnan(value)) return 0x7f;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fmin(std::fabs(value), largest);
  // In units of the last place: of the binade, or of the smallest one, which denormals share.
  const int exponent = magnitude > 0 ? std::max(std::ilogb(magnitude), 1 - bias) : 1 - bias;
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, mantissa - exponent)));
  // A mantissa that rounds up to the next binade carries into the exponent.
  const int bits = ((exponent + bias - 1) << mantissa) + units;
  return static_cast<uint8_t>(sign | bits);
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

inline unsigned atomicMax(unsigned* address, unsigned value) {
  const unsigned before = *address;
  *address = std::max(before, value);
  return before;
}

#define TESSERA_LAUNCH(grid, block, stream, kernel, ...) \
  tessera::cuda::emulate(grid, block, [&] { kernel(__VA_ARGS__); })
