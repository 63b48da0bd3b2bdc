// The CPU's loop over normal blocks, many at a time, and the way to the kernel of a CUDA device.
#include "kernels/normal.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/normal_block.h"

namespace tessera::kernels {
namespace {

constexpr int64_t kCounters = 64;  // drawn at a time

// Philox counter by counter within each round, which compilers turn into vector code: the random bits of
// normal_block for the counters `first` .. `first` + kCounters - 1, value c of counter i at out[c][i].
void philox(uint64_t key, uint64_t row, uint64_t first, uint32_t (&out)[kNormalBlock][kCounters]) {
  for (int64_t i = 0; i < kCounters; ++i) {
    const uint64_t counter = first + static_cast<uint64_t>(i);
    out[0][i] = static_cast<uint32_t>(counter);
    out[1][i] = static_cast<uint32_t>(counter >> 32);
    out[2][i] = static_cast<uint32_t>(row);
    out[3][i] = static_cast<uint32_t>(row >> 32);
  }
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < exact::kPhiloxRounds; ++round) {
    for (int64_t i = 0; i < kCounters; ++i) {
      exact::philox_round(out[0][i], out[1][i], out[2][i], out[3][i], key0, key1);
    }
    key0 += exact::kPhiloxKey0;
    key1 += exact::kPhiloxKey1;
  }
}

}  // namespace

void normal_row(uint64_t key, uint64_t row, int64_t first, int64_t count, float std, float* out) {
  uint32_t bits[kNormalBlock][kCounters];
  float pairs[kNormalBlock][kCounters];
  float values[kNormalBlock * kCounters];
  const int64_t end = first + count;
  for (int64_t column = first / kNormalBlock * kNormalBlock; column < end;
       column += kNormalBlock * kCounters) {
    philox(key, row, static_cast<uint64_t>(column / kNormalBlock), bits);
    for (int pair = 0; pair < kNormalBlock; pair += 2) {
      for (int64_t i = 0; i < kCounters; ++i) {
        exact::normal_pair(bits[pair][i], bits[pair + 1][i], std, pairs[pair][i], pairs[pair + 1][i]);
      }
    }
    for (int64_t i = 0; i < kCounters; ++i) {
      for (int64_t c = 0; c < kNormalBlock; ++c) values[i * kNormalBlock + c] = pairs[c][i];
    }
    const int64_t from = std::max(first, column), to = std::min(end, column + kNormalBlock * kCounters);
    std::copy(values + (from - column), values + (to - column), out + (from - first));
  }
}

bool normal_on_device(const at::Tensor& out, uint64_t key, int64_t row, int64_t rows, int64_t column,
                      int64_t columns, float std) {
  const CudaTable* cuda = cuda_loops({&out});
  if (cuda == nullptr) return false;
  TESSERA_CHECK(out.is_contiguous() && out.numel() == rows * columns, internal,
                "normal_on_device: ", out.numel(), " elements for ", rows, " x ", columns);
  if (out.numel() == 0) return true;
  const CudaCall call(*cuda, out);
  call.check(cuda->normal(cuda_type(out), out.mutable_data_ptr(), key, row, rows, column, columns, std,
                          call.stream()),
             "normal");
  return true;
}

}  // namespace tessera::kernels
