// Casts to float8 with scales formed from the values: largest absolute values, and values in the layouts that
// float8 products read.
#include "row_threads.h"

#if defined(__CUDACC__)
#include <cuda_fp8.h>
#endif

#include "kernels.h"

namespace tessera::cuda {
namespace {

using kernels::CudaFloat8;

/// Elements that a thread takes at a time, of both input types: 8 bytes of float8.
constexpr int kVector = 8;

template <CudaFloat8 F>
constexpr float kLargest = F == CudaFloat8::e4m3 ? 448.0f : 57344.0f;

__device__ __forceinline__ uint32_t bits_of(float x) {
#if defined(__CUDACC__)
  return __float_as_uint(x);
#else
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
#endif
}
__device__ __forceinline__ float float_of(uint32_t bits) {
#if defined(__CUDACC__)
  return __uint_as_float(bits);
#else
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
#endif
}

/// Absolute values as integers: they have the order of the values, with NaN behind infinity.
__device__ __forceinline__ uint32_t magnitude(float x) {
  return bits_of(x) & 0x7fffffffu;
}
__device__ __forceinline__ uint32_t larger(uint32_t a, uint32_t b) {
  return a > b ? a : b;
}

/// Raises *to. Most values of a large matrix are below what is there already and need no atomic access;
/// reading an older, smaller value costs one at most.
__device__ __forceinline__ void raise(uint32_t* to, uint32_t value) {
  if (value > *static_cast<volatile uint32_t*>(to)) atomicMax(to, value);
}

__device__ __forceinline__ uint32_t warp_max(uint32_t x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    x = larger(x, __shfl_xor_sync(kAllLanes, x, offset));
  }
  return x;
}
/// As block_sum.
__device__ __forceinline__ uint32_t block_max(uint32_t x, uint32_t* scratch) {
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  const int warps = blockDim.x * blockDim.y / kWarp;
  x = warp_max(x);
  __syncthreads();
  if (thread % kWarp == 0) scratch[thread / kWarp] = x;
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < warps; ++w) x = larger(x, scratch[w]);
  return x;
}

/// What values are multiplied by before they are rounded: largest / max(amax, 1e-12). Correctly rounded
/// float32 division gives what kernels/float8.cpp forms in float64: 448 and 57344 are 7 times powers of two,
/// so no quotient lies close enough to the middle between two float32 to be rounded another way.
template <CudaFloat8 F>
__device__ __forceinline__ float factor_of(uint32_t amax, bool powers_of_two) {
  const float largest = float_of(amax);
  // 1e-12f is below 1e-12 and the next float32 is above.
  const float factor =
      largest <= 1e-12f ? static_cast<float>(static_cast<double>(kLargest<F>) * 1e12) : kLargest<F> / largest;
  return powers_of_two && factor == factor ? float_of(bits_of(factor) & 0xff800000u) : factor;
}

/// Four values in float8, the first in the lowest byte: to nearest even, what is beyond the largest cut to
/// it.
template <CudaFloat8 F>
__device__ __forceinline__ uint32_t float8x4(float a, float b, float c, float d) {
#if defined(__CUDACC__)
  constexpr auto kFormat = F == CudaFloat8::e4m3 ? __NV_E4M3 : __NV_E5M2;
  const uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, kFormat);
  const uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE, kFormat);
  return low | high << 16;
#else
  constexpr int kMantissa = F == CudaFloat8::e4m3 ? 3 : 2, kBias = F == CudaFloat8::e4m3 ? 7 : 15;
  uint32_t bits = 0;
  for (const float x : {d, c, b, a}) bits = bits << 8 | emulated_float8(x, kMantissa, kBias, kLargest<F>);
  return bits;
#endif
}

/// One element as float8 in the lowest byte.
template <CudaFloat8 F>
__device__ __forceinline__ uint8_t float8(float x) {
  return static_cast<uint8_t>(float8x4<F>(x, 0, 0, 0));
}

template <CudaFloat8 F>
__device__ __forceinline__ void store_float8(uint8_t* to, const float (&x)[kVector], float factor) {
  Pack<uint32_t, 2> words;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    words.v[i] =
        float8x4<F>(x[4 * i] * factor, x[4 * i + 1] * factor, x[4 * i + 2] * factor, x[4 * i + 3] * factor);
  }
  *reinterpret_cast<Pack<uint32_t, 2>*>(to) = words;
}

template <class T>
bool vectors_fit(const void* x, int64_t stride, int64_t h) {
  return divides(kVector, h) && divides(kPack<T>, stride) && aligned(16, x);
}

// Largest absolute values.

constexpr int kAmaxThreads = 256;
constexpr int kAmaxRows = 64;  ///< of one block

/// A block takes kAmaxRows rows of blockDim.x * kVector columns.
template <class T>
__global__ void __launch_bounds__(kAmaxThreads)
    amax_kernel(const T* x, int64_t stride, int64_t rows, int64_t h, bool by_column, bool vectors,
                uint32_t* amax, int64_t column_blocks) {
  __shared__ uint32_t scratch[kWarp];
  const int64_t block_row = blockIdx.x / column_blocks, block_column = blockIdx.x % column_blocks;
  const int64_t column = (block_column * blockDim.x + threadIdx.x) * kVector;
  const int64_t begin = block_row * kAmaxRows;
  const int64_t end = begin + kAmaxRows < rows ? begin + kAmaxRows : rows;
  uint32_t most[kVector] = {};
  for (int64_t row = begin + threadIdx.y; row < end; row += blockDim.y) {
    const T* from = x + row * stride + column;
    if (vectors && column < h) {
      float value[kVector];
      load<kVector>(from, value);
#pragma unroll
      for (int i = 0; i < kVector; ++i) most[i] = larger(most[i], magnitude(value[i]));
    } else {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (column + i < h) most[i] = larger(most[i], magnitude(to_float(from[i])));
      }
    }
  }
  if (by_column) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if (column + i < h) raise(amax + column + i, most[i]);
    }
    return;
  }
  uint32_t all = 0;
#pragma unroll
  for (int i = 0; i < kVector; ++i) all = larger(all, most[i]);
  all = block_max(all, scratch);
  if (threadIdx.x == 0 && threadIdx.y == 0) raise(amax, all);
}

int float8_amax(CudaType type, const void* x, int64_t stride, int64_t rows, int64_t h, bool by_column,
                float* amax, void* stream) {
  if (rows == 0 || h == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    // As many threads along a row as it has vectors, at least a warp.
    int across = kWarp;
    while (across < kAmaxThreads && across * kVector < h) across *= 2;
    const int64_t column_blocks = ceil_div(h, across * kVector);
    const dim3 grid(grid_of(ceil_div(rows, kAmaxRows) * column_blocks)), block(across, kAmaxThreads / across);
    TESSERA_LAUNCH(grid, block, stream, amax_kernel<T>, static_cast<const T*>(x), stride, rows, h, by_column,
                   vectors_fit<T>(x, stride, h), reinterpret_cast<uint32_t*>(amax), column_blocks);
    return launched();
  });
}

// Rows with scales of their own.

__device__ __forceinline__ uint32_t row_max(uint32_t x, uint32_t* scratch) {
  return blockDim.x == kWarp ? warp_max(x) : block_max(x, scratch);
}

/// Group g of `groups` takes the rows g, g + groups, ..., each in registers between its maximum and its cast.
template <class T, CudaFloat8 F, int K>
__global__ void __launch_bounds__(K > 2 ? 512 : 1024)
    float8_rows_kernel(const T* x, int64_t stride, uint8_t* out, float* scale, bool by_column, uint32_t* amax,
                       bool powers_of_two, int64_t rows, int h, int64_t groups) {
  __shared__ uint32_t scratch[kWarp];
  const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (group >= groups) return;  // whole warps, of blocks that have no barrier
  uint32_t most[K][kVector] = {};
  uint32_t all = 0;
  for (int64_t row = group; row < rows; row += groups) {
    float value[K][kVector];
    uint32_t largest = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * kVector;
      if (i >= h) continue;
      load<kVector>(x + row * stride + i, value[k]);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        const uint32_t size = magnitude(value[k][j]);
        largest = larger(largest, size);
        if (by_column) most[k][j] = larger(most[k][j], size);
      }
    }
    largest = row_max(largest, scratch);
    all = larger(all, largest);
    const float factor = factor_of<F>(largest, powers_of_two);
    if (threadIdx.x == 0) scale[row] = 1.0f / factor;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * kVector;
      if (i < h) store_float8<F>(out + row * h + i, value[k], factor);
    }
  }
  if (!amax) return;
  if (!by_column) {
    if (threadIdx.x == 0) raise(amax, all);
    return;
  }
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * kVector;
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      if (i < h) raise(amax + i + j, most[k][j]);
    }
  }
}

/// Rows of any length and alignment, read twice.
template <class T, CudaFloat8 F>
__global__ void float8_rows_any(const T* x, int64_t stride, uint8_t* out, float* scale, bool by_column,
                                uint32_t* amax, bool powers_of_two, int64_t rows, int64_t h, int64_t groups) {
  __shared__ uint32_t scratch[kWarp];
  const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (group >= groups) return;
  uint32_t all = 0;
  for (int64_t row = group; row < rows; row += groups) {
    const T* from = x + row * stride;
    uint32_t largest = 0;
    for (int64_t i = threadIdx.x; i < h; i += blockDim.x) {
      const uint32_t size = magnitude(to_float(from[i]));
      largest = larger(largest, size);
      if (amax && by_column) raise(amax + i, size);
    }
    largest = row_max(largest, scratch);
    all = larger(all, largest);
    const float factor = factor_of<F>(largest, powers_of_two);
    if (threadIdx.x == 0) scale[row] = 1.0f / factor;
    for (int64_t i = threadIdx.x; i < h; i += blockDim.x)
      out[row * h + i] = float8<F>(to_float(from[i]) * factor);
  }
  if (amax && !by_column && threadIdx.x == 0) raise(amax, all);
}

/// Of rows in registers: blocks of 1024 threads have room for two vectors a thread and as many maxima.
constexpr int64_t kLongestRow = 1024 * 2 * kVector;
/// Rows that a group takes where it also finds the largest values of columns: so many fewer are compared.
constexpr int64_t kRowsPerGroup = 8;

template <CudaFloat8 F>
int rows_in(CudaType type, const void* x, int64_t stride, int64_t rows, int64_t h, bool powers_of_two,
            void* out, float* scale, bool by_column, float* amax, void* stream) {
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const bool vectors = vectors_fit<T>(x, stride, h) && aligned(kVector, out);
    const RowThreads t = row_threads(h, kVector, vectors && h <= kLongestRow, 1024);
    const int64_t groups = amax && by_column ? ceil_div(rows, kRowsPerGroup) : rows;
    const dim3 grid(grid_of(ceil_div(groups, t.rows))), block(t.threads, t.rows);
    const auto run = [&](auto kernel, auto width) {
      TESSERA_LAUNCH(grid, block, stream, kernel, static_cast<const T*>(x), stride,
                     static_cast<uint8_t*>(out), scale, by_column, reinterpret_cast<uint32_t*>(amax),
                     powers_of_two, rows, width, groups);
    };
    const int width = static_cast<int>(h);
    if (t.packs == 0) {
      run(float8_rows_any<T, F>, h);
    } else if (t.packs == 1) {
      run(float8_rows_kernel<T, F, 1>, width);
    } else if (t.packs == 2) {
      run(float8_rows_kernel<T, F, 2>, width);
    } else {
      run(float8_rows_kernel<T, F, 4>, width);
    }
    return launched();
  });
}

int float8_rows(CudaType type, CudaFloat8 format, const void* x, int64_t stride, int64_t rows, int64_t h,
                bool powers_of_two, void* out, float* scale, bool by_column, float* amax, void* stream) {
  if (rows == 0) return 0;
  return format == CudaFloat8::e4m3 ? rows_in<CudaFloat8::e4m3>(type, x, stride, rows, h, powers_of_two, out,
                                                                scale, by_column, amax, stream)
                                    : rows_in<CudaFloat8::e5m2>(type, x, stride, rows, h, powers_of_two, out,
                                                                scale, by_column, amax, stream);
}

// Casts with known scales, and transposition.

constexpr int kTileRows = 128, kTileColumns = 64;
constexpr int kTileThreads = kTileRows / 4 * kTileColumns / kVector;  ///< 4 rows of kVector columns each

struct alignas(16) Tile {
  uint32_t words[kTileColumns * kTileRows / 4];
};

/// Four rows of one column are one word of the tile; columns lie one after the other. Words are swapped about
/// in groups of four so that neither the writes of a warp (eight columns apart) nor its reads (16 rows each)
/// meet in a bank.
__device__ __forceinline__ int tile_word(int column, int word) {
  return column * (kTileRows / 4) + (word ^ (column / kVector % 8 * 4));
}

/// Writes the columns of the tile as rows of 16 bytes a thread.
__device__ __forceinline__ void store_transposed(const Tile& tile, int64_t row0, int64_t column0, int64_t h,
                                                 uint8_t* transposed, int64_t width) {
  for (int i = static_cast<int>(threadIdx.x); i < kTileColumns * kTileRows / 16; i += kTileThreads) {
    const int column = i / (kTileRows / 16), chunk = i % (kTileRows / 16);
    if (column0 + column >= h || row0 + chunk * 16 >= width) continue;
    *reinterpret_cast<Pack<uint32_t, 4>*>(transposed + (column0 + column) * width + row0 + chunk * 16) =
        *reinterpret_cast<const Pack<uint32_t, 4>*>(tile.words + tile_word(column, chunk * 4));
  }
}

template <class T, CudaFloat8 F>
__global__ void __launch_bounds__(kTileThreads)
    float8_cast_kernel(const T* x, int64_t stride, int64_t rows, int64_t h, bool vectors, bool by_column,
                       const uint32_t* amax, bool powers_of_two, uint8_t* out, uint8_t* transposed,
                       int64_t transposed_width, float* scale, int64_t column_tiles) {
  __shared__ Tile tile;
  const int64_t row0 = blockIdx.x / column_tiles * kTileRows;
  const int64_t column0 = blockIdx.x % column_tiles * kTileColumns;
  const int vector = static_cast<int>(threadIdx.x) % (kTileColumns / kVector);
  const int word = static_cast<int>(threadIdx.x) / (kTileColumns / kVector);
  const int64_t column = column0 + vector * kVector;

  float factor[kVector];
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    factor[j] = j > 0 && !by_column ? factor[0]
                : column + j < h    ? factor_of<F>(amax[by_column ? column + j : 0], powers_of_two)
                                    : 0.0f;
  }
  if (row0 == 0 && word == 0) {
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      if (by_column ? column + j < h : column + j == 0) scale[by_column ? column + j : 0] = 1.0f / factor[j];
    }
  }

  float value[4][kVector] = {};
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int64_t row = row0 + word * 4 + r;
    if (row >= rows || column >= h) continue;
    const T* from = x + row * stride + column;
    if (vectors) {
      load<kVector>(from, value[r]);
    } else {
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        if (column + j < h) value[r][j] = to_float(from[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kVector; ++j) value[r][j] *= factor[j];
    if (!out) continue;
    uint8_t* to = out + row * h + column;
    if (vectors) {
      store_float8<F>(to, value[r], 1.0f);
    } else {
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        if (column + j < h) to[j] = float8<F>(value[r][j]);
      }
    }
  }
  if (!transposed) return;
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    tile.words[tile_word(vector * kVector + j, word)] =
        float8x4<F>(value[0][j], value[1][j], value[2][j], value[3][j]);
  }
  __syncthreads();
  store_transposed(tile, row0, column0, h, transposed, transposed_width);
}

int64_t column_tiles_of(int64_t h) {
  return ceil_div(h, kTileColumns);
}
dim3 tiles_of(int64_t rows, int64_t h) {
  return grid_of(ceil_div(rows, kTileRows) * column_tiles_of(h));
}

template <CudaFloat8 F>
int cast_to(CudaType type, const void* x, int64_t stride, int64_t rows, int64_t h, bool by_column,
            const float* amax, bool powers_of_two, void* out, void* transposed, int64_t transposed_width,
            float* scale, void* stream) {
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const bool vectors = vectors_fit<T>(x, stride, h) && aligned(kVector, out);
    TESSERA_LAUNCH(tiles_of(rows, h), dim3(kTileThreads), stream, (float8_cast_kernel<T, F>),
                   static_cast<const T*>(x), stride, rows, h, vectors, by_column,
                   reinterpret_cast<const uint32_t*>(amax), powers_of_two, static_cast<uint8_t*>(out),
                   static_cast<uint8_t*>(transposed), transposed_width, scale, column_tiles_of(h));
    return launched();
  });
}

int float8_cast(CudaType type, CudaFloat8 format, const void* x, int64_t stride, int64_t rows, int64_t h,
                bool by_column, const float* amax, bool powers_of_two, void* out, void* transposed,
                int64_t transposed_width, float* scale, void* stream) {
  if (rows == 0 || h == 0) return 0;
  return format == CudaFloat8::e4m3
             ? cast_to<CudaFloat8::e4m3>(type, x, stride, rows, h, by_column, amax, powers_of_two, out,
                                         transposed, transposed_width, scale, stream)
             : cast_to<CudaFloat8::e5m2>(type, x, stride, rows, h, by_column, amax, powers_of_two, out,
                                         transposed, transposed_width, scale, stream);
}

/// x as bytes.
__global__ void __launch_bounds__(kTileThreads)
    float8_transpose_kernel(const uint8_t* x, int64_t rows, int64_t h, bool vectors, uint8_t* transposed,
                            int64_t width, int64_t column_tiles) {
  __shared__ Tile tile;
  const int64_t row0 = blockIdx.x / column_tiles * kTileRows;
  const int64_t column0 = blockIdx.x % column_tiles * kTileColumns;
  const int vector = static_cast<int>(threadIdx.x) % (kTileColumns / kVector);
  const int word = static_cast<int>(threadIdx.x) / (kTileColumns / kVector);
  const int64_t column = column0 + vector * kVector;
  Pack<uint8_t, kVector> value[4] = {};
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int64_t row = row0 + word * 4 + r;
    if (row >= rows || column >= h) continue;
    const uint8_t* from = x + row * h + column;
    if (vectors) {
      value[r] = *reinterpret_cast<const Pack<uint8_t, kVector>*>(from);
    } else {
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        if (column + j < h) value[r].v[j] = from[j];
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    tile.words[tile_word(vector * kVector + j, word)] =
        static_cast<uint32_t>(value[0].v[j]) | static_cast<uint32_t>(value[1].v[j]) << 8 |
        static_cast<uint32_t>(value[2].v[j]) << 16 | static_cast<uint32_t>(value[3].v[j]) << 24;
  }
  __syncthreads();
  store_transposed(tile, row0, column0, h, transposed, width);
}

int float8_transpose(const void* x, int64_t rows, int64_t h, void* transposed, int64_t transposed_width,
                     void* stream) {
  if (rows == 0 || h == 0) return 0;
  TESSERA_LAUNCH(tiles_of(rows, h), dim3(kTileThreads), stream, float8_transpose_kernel,
                 static_cast<const uint8_t*>(x), rows, h, divides(kVector, h) && aligned(kVector, x),
                 static_cast<uint8_t*>(transposed), transposed_width, column_tiles_of(h));
  return launched();
}

}  // namespace

void add_float8_kernels(kernels::CudaTable& table) {
  table.float8_amax = float8_amax;
  table.float8_rows = float8_rows;
  table.float8_cast = float8_cast;
  table.float8_transpose = float8_transpose;
}

}  // namespace tessera::cuda
