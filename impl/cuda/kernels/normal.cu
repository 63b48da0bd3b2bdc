// Seeded normal values, a thread for each block of a stream.
#include "device.h"
#include "kernels.h"
#include "kernels/normal_block.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlock = kernels::kNormalBlock;

template <class T>
__global__ void normal_kernel(T* out, uint64_t key, int64_t row, int64_t rows, int64_t column,
                              int64_t columns, int64_t blocks, float std) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t local_row = at / blocks;
  if (local_row >= rows) return;
  const int64_t block = column / kBlock + at % blocks;
  float values[kBlock];
  kernels::normal_block(key, static_cast<uint64_t>(row + local_row), static_cast<uint64_t>(block), std,
                        values);
  const int64_t first =
      block * kBlock - column;  // of the columns asked for; the outer blocks hold others too
#pragma unroll
  for (int i = 0; i < kBlock; ++i) {
    if (first + i >= 0 && first + i < columns)
      out[local_row * columns + first + i] = from_float<T>(values[i]);
  }
}

int normal(CudaType type, void* out, uint64_t key, int64_t row, int64_t rows, int64_t column, int64_t columns,
           float std, void* stream) {
  const int64_t blocks = ceil_div(column + columns, kBlock) - column / kBlock;
  const dim3 grid(grid_of(ceil_div(rows * blocks, static_cast<int64_t>(kThreads))));
  return by_type(type, [&](auto t) {
    using T = decltype(t);
    TESSERA_LAUNCH(grid, dim3(kThreads), stream, normal_kernel<T>, static_cast<T*>(out), key, row, rows,
                   column, columns, blocks, std);
    return launched();
  });
}

}  // namespace

void add_normal_kernels(kernels::CudaTable& table) {
  table.normal = normal;
}

}  // namespace tessera::cuda
