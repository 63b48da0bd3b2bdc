// The table of emulated kernels, and what the emulator promises its users.
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "cuda/kernels/kernels.h"
#include "emulator.h"
#include "gpu_support.h"

namespace tessera::kernels {

const CudaTable& emulated_table() {
  static const CudaTable table = cuda::kernel_table();
  return table;
}

namespace {

TEST(Emulator, FindsBarriersThatNotAllThreadsReach) {
  const auto split = [] { threadIdx.x < 32 ? __syncthreads() : (void)__shfl_xor_sync(~0u, 1, 1); };
  EXPECT_NO_THROW(cuda::emulate(dim3(1), dim3(32), split));
  const auto half_a_warp = [] {
    if (threadIdx.x % 32 < 16) __shfl_xor_sync(~0u, 1, 1);
  };
  EXPECT_THROW(cuda::emulate(dim3(1), dim3(64), half_a_warp), std::logic_error);
  const auto two_barriers = [] { threadIdx.x < 16 ? __syncthreads() : (void)__shfl_xor_sync(~0u, 1, 1); };
  EXPECT_THROW(cuda::emulate(dim3(1), dim3(32), two_barriers), std::logic_error);
}

/// Thread t leaves its number for the thread 32 further on, with or without a barrier in between.
bool neighbours_arrive(bool with_barrier) {
  int slots[64] = {}, seen[64] = {};
  for (int launch = 0; launch < 2; ++launch) {
    std::fill(slots, slots + 64, -1);
    cuda::emulate(dim3(1), dim3(64), [&] {
      slots[threadIdx.x] = static_cast<int>(threadIdx.x);
      if (with_barrier) __syncthreads();
      seen[threadIdx.x] = slots[(threadIdx.x + 32) % 64];
    });
    for (int t = 0; t < 64; ++t) {
      if (seen[t] != (t + 32) % 64) return false;
    }
  }
  return true;
}

TEST(Emulator, ShowsThatABarrierIsMissing) {
  EXPECT_TRUE(neighbours_arrive(true));
  EXPECT_FALSE(neighbours_arrive(false));
}

TEST(Emulator, RefusesLaunchesThatCudaRefuses) {
  cuda::emulate(dim3(0), dim3(32), [] {});
  EXPECT_NE(cudaGetLastError(), 0);
  cuda::emulate(dim3(1), dim3(1025), [] {});
  EXPECT_NE(cudaGetLastError(), 0);
  cuda::emulate(dim3(3), dim3(2, 16), [] {});
  EXPECT_EQ(cudaGetLastError(), 0);
}

TEST(Emulator, RoundsBfloat16AsLibTorch) {
  const at::Tensor x = random_tensor({4096}, at::kFloat, 1);
  const at::Tensor expected = x.to(at::kBFloat16);
  const auto* bits = static_cast<const uint16_t*>(expected.const_data_ptr());
  for (int64_t i = 0; i < x.numel(); ++i) {
    ASSERT_EQ(cuda::emulated_bf16(x.const_data_ptr<float>()[i]), bits[i]);
  }
}

}  // namespace
}  // namespace tessera::kernels
