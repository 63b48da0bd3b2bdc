// Seeded normal values that depend on their place alone: the same bits on every CPU and GPU, in every part of
// a tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::kernels {

/// Columns [first, first + count) of one row of the stream `key`, standard deviation `std`, to host memory.
void normal_row(uint64_t key, uint64_t row, int64_t first, int64_t count, float std, float* out);

/// Rows [row, row + rows) and columns [column, column + columns) of the stream `key` into `out`, which is
/// contiguous, holds rows x columns elements and lies on a CUDA device whose kernels read its dtype; float32
/// values are rounded once to it. False, with nothing done, for other tensors.
bool normal_on_device(const at::Tensor& out, uint64_t key, int64_t row, int64_t rows, int64_t column,
                      int64_t columns, float std);

}  // namespace tessera::kernels
