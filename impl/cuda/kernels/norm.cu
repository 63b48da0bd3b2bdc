// RMSNorm: a row lies in the registers of one warp or one block between the sum of squares and the product,
// so forward reads and writes each element once.
#include "device.h"
#include "kernels.h"
#include "row_threads.h"

namespace tessera::cuda {
namespace {

/// x_hat times its gain, with the roundings of Hugging Face (kernels/norm.h): Gemma's 1 + weight is applied
/// in float32, Llama's weight to the rounded x_hat.
template <class T>
__device__ __forceinline__ float gained(float x_hat, float weight, bool one_plus) {
  return one_plus ? x_hat * (1.0f + weight) : to_float(from_float<T>(x_hat)) * weight;
}

__device__ __forceinline__ float row_sum(float x, float* scratch) {
  return blockDim.x == kWarp ? warp_sum(x) : block_sum(x, scratch);
}

template <class T, int K>
__global__ void __launch_bounds__(1024)
    rms_norm_kernel(const T* x, RowLayout xl, const T* residual, const T* w, T* sum, T* y, float* rstd,
                    int64_t rows, int h, float eps, bool one_plus) {
  constexpr int V = kPack<T>;
  __shared__ float scratch[kWarp];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool live = row < rows;
  const T* from = x + (live ? row_offset(xl, row) : 0);
  float cache[K][V];
  float squares = 0;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * V;
    if (!live || i >= h) continue;
    load<V>(from + i, cache[k]);
    if (residual) {
      float other[V];
      load<V>(residual + row * h + i, other);
#pragma unroll
      for (int j = 0; j < V; ++j) cache[k][j] = to_float(from_float<T>(cache[k][j] + other[j]));
      store<V>(sum + row * h + i, cache[k]);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) squares += cache[k][j] * cache[k][j];
  }
  const float r = 1.0f / sqrtf(row_sum(squares, scratch) / static_cast<float>(h) + eps);
  if (!live) return;
  if (threadIdx.x == 0) rstd[row] = r;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * V;
    if (i >= h) continue;
    float weight[V];
    load<V>(w + i, weight);
#pragma unroll
    for (int j = 0; j < V; ++j) weight[j] = gained<T>(cache[k][j] * r, weight[j], one_plus);
    store<V>(y + row * h + i, weight);
  }
}

/// Rows of any length and alignment, read twice.
template <class T>
__global__ void rms_norm_any(const T* x, RowLayout xl, const T* residual, const T* w, T* sum, T* y,
                             float* rstd, int64_t rows, int64_t h, float eps, bool one_plus) {
  __shared__ float scratch[kWarp];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool live = row < rows;
  const T* from = x + (live ? row_offset(xl, row) : 0);
  float squares = 0;
  for (int64_t i = threadIdx.x; live && i < h; i += blockDim.x) {
    float value = to_float(from[i]);
    if (residual) {
      const T rounded = from_float<T>(value + to_float(residual[row * h + i]));
      sum[row * h + i] = rounded;
      value = to_float(rounded);
    }
    squares += value * value;
  }
  const float r = 1.0f / sqrtf(row_sum(squares, scratch) / static_cast<float>(h) + eps);
  if (!live) return;
  if (threadIdx.x == 0) rstd[row] = r;
  if (residual) from = sum + row * h;  // each thread reads what it wrote itself
  for (int64_t i = threadIdx.x; i < h; i += blockDim.x) {
    y[row * h + i] = from_float<T>(gained<T>(to_float(from[i]) * r, to_float(w[i]), one_plus));
  }
}

/// Group g of `parts` takes the rows g, g + parts, ... and keeps their part of the weight gradient in
/// registers. dx = rstd * (g - x_hat * mean(g x_hat)), with g = dy (w + extra) and x_hat = x rstd.
template <class T, int K>
__global__ void __launch_bounds__(512)
    rms_norm_backward_kernel(const T* dy, const T* x, RowLayout xl, const T* w, const float* rstd,
                             const T* dresidual, T* dx, float* partial, int64_t rows, int h, int64_t parts,
                             float extra) {
  constexpr int V = kPack<T>;
  __shared__ float scratch[kWarp];
  const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  float dw[K][V];
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int j = 0; j < V; ++j) dw[k][j] = 0;
  }
  if (group >= parts) return;  // whole warps, of blocks that have no barrier
  for (int64_t row = group; row < rows; row += parts) {
    const T* from = x + row_offset(xl, row);
    const float r = rstd[row];
    float value[K][V], slope[K][V];
    float dot = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * V;
      if (i >= h) continue;
      float weight[V];
      load<V>(from + i, value[k]);
      load<V>(dy + row * h + i, slope[k]);
      load<V>(w + i, weight);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        dw[k][j] += slope[k][j] * (value[k][j] * r);
        slope[k][j] *= weight[j] + extra;
        dot += slope[k][j] * value[k][j];
      }
    }
    const float back = row_sum(dot, scratch) * r * r * r / static_cast<float>(h);
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * V;
      if (i >= h) continue;
      float out[V];
#pragma unroll
      for (int j = 0; j < V; ++j) out[j] = slope[k][j] * r - value[k][j] * back;
      if (dresidual) {
        float around[V];
        load<V>(dresidual + row * h + i, around);
#pragma unroll
        for (int j = 0; j < V; ++j) out[j] += around[j];
      }
      store<V>(dx + row * h + i, out);
    }
  }
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * V;
    if (i < h) store<V>(partial + group * h + i, dw[k]);
  }
}

/// Rows of any length and alignment; the weight gradient is summed in `partial` itself.
template <class T>
__global__ void rms_norm_backward_any(const T* dy, const T* x, RowLayout xl, const T* w, const float* rstd,
                                      const T* dresidual, T* dx, float* partial, int64_t rows, int64_t h,
                                      int64_t parts, float extra) {
  __shared__ float scratch[kWarp];
  const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (group >= parts) return;
  float* dw = partial + group * h;
  for (int64_t i = threadIdx.x; i < h; i += blockDim.x) dw[i] = 0;
  for (int64_t row = group; row < rows; row += parts) {
    const T* from = x + row_offset(xl, row);
    const float r = rstd[row];
    float dot = 0;
    for (int64_t i = threadIdx.x; i < h; i += blockDim.x) {
      dot += to_float(dy[row * h + i]) * (to_float(w[i]) + extra) * to_float(from[i]);
    }
    const float back = row_sum(dot, scratch) * r * r * r / static_cast<float>(h);
    for (int64_t i = threadIdx.x; i < h; i += blockDim.x) {
      const float value = to_float(from[i]), g = to_float(dy[row * h + i]);
      dw[i] += g * (value * r);
      float out = g * (to_float(w[i]) + extra) * r - value * back;
      if (dresidual) out += to_float(dresidual[row * h + i]);
      dx[row * h + i] = from_float<T>(out);
    }
  }
}

bool packs_fit(const RowLayout& l, int64_t h, int pack) {
  return divides(pack, h, l.outer_stride, l.inner_count == 1 ? 0 : l.inner_stride);
}

int rms_norm(CudaType type, const void* x, RowLayout xl, const void* residual, const void* w, void* sum,
             void* y, float* rstd, int64_t rows, int64_t h, float eps, bool one_plus, void* stream) {
  if (rows == 0 || h == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const bool packs = packs_fit(xl, h, kPack<T>) && aligned(16, x, residual, w, sum, y);
    const RowThreads t = row_threads(h, kPack<T>, packs, 1024);
    const dim3 grid(grid_of(ceil_div(rows, t.rows))), block(t.threads, t.rows);
    const auto run = [&](auto kernel, auto width) {
      TESSERA_LAUNCH(grid, block, stream, kernel, static_cast<const T*>(x), xl,
                     static_cast<const T*>(residual), static_cast<const T*>(w), static_cast<T*>(sum),
                     static_cast<T*>(y), rstd, rows, width, eps, one_plus);
    };
    const int width = static_cast<int>(h);
    if (t.packs == 0) {
      run(rms_norm_any<T>, h);
    } else if (t.packs == 1) {
      run(rms_norm_kernel<T, 1>, width);
    } else if (t.packs == 2) {
      run(rms_norm_kernel<T, 2>, width);
    } else {
      run(rms_norm_kernel<T, 4>, width);
    }
    return launched();
  });
}

int rms_norm_backward(CudaType type, const void* dy, const void* x, RowLayout xl, const void* w,
                      const float* rstd, const void* dresidual, void* dx, float* dw, float* partial,
                      int64_t rows, int64_t h, bool one_plus, void* stream) {
  if (h == 0) return 0;
  const int64_t parts = kernels::norm_parts(rows, h);
  const int failed = by_type(type, [&](auto element) {
    using T = decltype(element);
    const bool packs = packs_fit(xl, h, kPack<T>) && aligned(16, dy, x, w, dresidual, dx, partial);
    const RowThreads t = row_threads(h, kPack<T>, packs, 512);
    const dim3 grid(grid_of(ceil_div(parts, t.rows))), block(t.threads, t.rows);
    const auto run = [&](auto kernel, auto width) {
      TESSERA_LAUNCH(grid, block, stream, kernel, static_cast<const T*>(dy), static_cast<const T*>(x), xl,
                     static_cast<const T*>(w), rstd, static_cast<const T*>(dresidual), static_cast<T*>(dx),
                     partial, rows, width, parts, one_plus ? 1.0f : 0.0f);
    };
    const int width = static_cast<int>(h);
    if (t.packs == 0) {
      run(rms_norm_backward_any<T>, h);
    } else if (t.packs == 1) {
      run(rms_norm_backward_kernel<T, 1>, width);
    } else if (t.packs == 2) {
      run(rms_norm_backward_kernel<T, 2>, width);
    } else {
      run(rms_norm_backward_kernel<T, 4>, width);
    }
    return launched();
  });
  if (failed != 0) return failed;
  return column_sum(CudaType::f32, partial, h, dw, partial + parts * h, parts, h, stream);
}

}  // namespace

void add_norm_kernels(kernels::CudaTable& table) {
  table.rms_norm = rms_norm;
  table.rms_norm_backward = rms_norm_backward;
}

}  // namespace tessera::cuda
