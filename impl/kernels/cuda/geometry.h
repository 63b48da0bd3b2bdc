// How CUDA kernels cut their work: functions of the shapes alone, shared by the kernels and by the code that
// makes their scratch memory, and testable without a GPU.
#pragma once

#include <cstdint>

namespace tessera::kernels {

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Rows that one block of a column sum adds up.
inline constexpr int64_t kColumnSumRows = 256;

/// Scratch floats of a column sum of [rows, h]: one row per block of each level but the last.
constexpr int64_t column_sum_floats(int64_t rows, int64_t h) {
  int64_t total = 0;
  while (rows > kColumnSumRows) {
    rows = ceil_div(rows, kColumnSumRows);
    total += rows;
  }
  return total * h;
}

/// Into how many partial sums the weight gradient of a norm over [rows, h] is cut: enough to fill a GPU,
/// without partial sums outweighing the rows they come from.
constexpr int64_t norm_parts(int64_t rows, int64_t h) {
  const int64_t most = (int64_t{1} << 20) / (h > 0 ? h : 1);
  const int64_t limit = most > 512 ? most : 512;
  const int64_t parts = ceil_div(rows, 8);
  return parts < 1 ? 1 : parts > limit ? limit : parts;
}

/// Partial sums of the norm's backward, and what their column sum needs.
constexpr int64_t norm_partial_floats(int64_t rows, int64_t h) {
  const int64_t parts = norm_parts(rows, h);
  return parts * h + column_sum_floats(parts, h);
}

/// Elements that one block of a pass over many tensors takes.
inline constexpr int64_t kManyChunk = 16384;
/// Tensors in one launch of such a pass: as many as a kernel's 4 KiB of parameters hold.
inline constexpr int kManyTensors = 48;

constexpr int64_t many_blocks(int64_t n) {
  return ceil_div(n, kManyChunk);
}

}  // namespace tessera::kernels
