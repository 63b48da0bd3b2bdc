// Softmax cross-entropy: one block a row. The first pass keeps a running maximum and the sum of exponentials
// about it (Milakov & Gimelshein, 2018), the second overwrites the logits by their gradient.
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 512;
/// Packs a thread has under way at once.
constexpr int kFlight = 4;

struct RowStats {
  float max;
  float sum;  ///< of exp(x - max), or of exp(x) where all x are -infinity
};

/// What exponentials are taken about.
__device__ __forceinline__ float reference_of(float max) {
  return max == -INFINITY ? 0.0f : max;
}

/// exp(from - to) for maxima that only grow: 1 where nothing changed, also at -infinity.
__device__ __forceinline__ float rescale(float from, float to) {
  return from == to ? 1.0f : expf(from - to);
}

template <int N>
__device__ __forceinline__ void take(RowStats& s, const float (&x)[N]) {
  float most = x[0];
#pragma unroll
  for (int j = 1; j < N; ++j) most = fmaxf(most, x[j]);
  if (most > s.max) {
    s.sum *= rescale(s.max, most);
    s.max = most;
  }
  const float reference = reference_of(s.max);
#pragma unroll
  for (int j = 0; j < N; ++j) s.sum += expf(x[j] - reference);
}

/// The statistics of a row, known to all threads of the block.
template <class T, int V>
__device__ RowStats row_stats(const T* x, int64_t v) {
  __shared__ float scratch[kWarp];
  RowStats s{-INFINITY, 0};
  constexpr int64_t kStep = static_cast<int64_t>(kThreads) * V;
  int64_t i = static_cast<int64_t>(threadIdx.x) * V;
  for (; i + (kFlight - 1) * kStep + V <= v; i += kFlight * kStep) {
    float values[kFlight][V];
#pragma unroll
    for (int k = 0; k < kFlight; ++k) load<V>(x + i + k * kStep, values[k]);
#pragma unroll
    for (int k = 0; k < kFlight; ++k) take(s, values[k]);
  }
  for (; i < v; i += kStep) {
    if (i + V <= v) {
      float values[V];
      load<V>(x + i, values);
      take(s, values);
    } else {
      for (int64_t j = i; j < v; ++j) {
        const float value[1] = {to_float(x[j])};
        take(s, value);
      }
    }
  }
  float most = s.max;
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, offset));
  }
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % kWarp == 0) scratch[thread / kWarp] = most;
  __syncthreads();
  most = scratch[0];
  for (int w = 1; w < kThreads / kWarp; ++w) most = fmaxf(most, scratch[w]);
  return {most, block_sum(s.sum * rescale(s.max, most), scratch)};
}

/// How a row's logits become their gradient, (exp(x - reference) * factor - onehot * scale), and where they
/// were capped softly, x = cap tanh(y / cap), that of y.
struct Gradient {
  int64_t column;
  float reference, factor, scale;
  float inverse_cap;  ///< 0: no cap

  __device__ float operator()(float x, int64_t i) const {
    const float g = expf(x - reference) * factor - (i == column ? scale : 0.0f);
    const float t = x * inverse_cap;
    return g * (1.0f - t * t);
  }
};

template <class T, int V>
__device__ void write_gradient(T* x, int64_t v, const Gradient& gradient) {
  constexpr int64_t kStep = static_cast<int64_t>(kThreads) * V;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * V; i < v; i += kStep) {
    if (i + V <= v) {
      float values[V];
      load<V>(x + i, values);
#pragma unroll
      for (int j = 0; j < V; ++j) values[j] = gradient(values[j], i + j);
      store<V>(x + i, values);
    } else {
      for (int64_t j = i; j < v; ++j) x[j] = from_float<T>(gradient(to_float(x[j]), j));
    }
  }
}

template <class T, int V>
__device__ void write_zeros(T* x, int64_t v) {
  const float zeros[V] = {};
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * V; i < v; i += static_cast<int64_t>(kThreads) * V) {
    if (i + V <= v) {
      store<V>(x + i, zeros);
    } else {
      for (int64_t j = i; j < v; ++j) x[j] = from_float<T>(0.0f);
    }
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_kernel(T* logits, int64_t stride, const int64_t* labels, int64_t v, int64_t ignore,
                         bool with_grad, float grad_scale, float inverse_cap, double* row_loss) {
  const int64_t row = blockIdx.x;
  T* x = logits + row * stride;
  const int64_t label = labels[row];
  if (label == ignore) {
    if (threadIdx.x == 0) row_loss[row] = 0;
    if (with_grad) write_zeros<T, V>(x, v);
    return;
  }
  const bool known = label >= 0 && label < v;
  const float target = known ? to_float(x[label]) : quiet_nan();
  const RowStats s = row_stats<T, V>(x, v);  // its barriers keep `target` before the writes below
  if (threadIdx.x == 0) {
    row_loss[row] = static_cast<double>(logf(s.sum)) + (static_cast<double>(s.max) - target);
  }
  if (!with_grad) return;
  const float factor = known ? grad_scale / s.sum : quiet_nan();
  write_gradient<T, V>(x, v, {label, reference_of(s.max), factor, grad_scale, inverse_cap});
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_stats_kernel(const T* logits, int64_t stride, const int64_t* labels, int64_t v,
                               int64_t vocab_begin, float* max, float* sum, float* target) {
  const int64_t row = blockIdx.x;
  const T* x = logits + row * stride;
  const RowStats s = row_stats<T, V>(x, v);
  if (threadIdx.x != 0) return;
  const int64_t label = labels[row], column = label - vocab_begin;
  max[row] = s.max;
  sum[row] = s.sum;
  target[row] = label >= 0 && column >= 0 && column < v ? to_float(x[column]) : 0.0f;
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_grad_kernel(T* logits, int64_t stride, const int64_t* labels, int64_t v,
                              int64_t vocab_begin, int64_t ignore, const float* lse, float scale,
                              float inverse_cap) {
  const int64_t row = blockIdx.x;
  T* x = logits + row * stride;
  const int64_t label = labels[row];
  if (label == ignore) return write_zeros<T, V>(x, v);
  write_gradient<T, V>(x, v, {label >= 0 ? label - vocab_begin : -1, lse[row], scale, scale, inverse_cap});
}

__global__ void __launch_bounds__(256)
    sum_doubles_kernel(const double* x, int64_t n, double* out, bool accumulate) {
  __shared__ double scratch[kWarp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) out[0] = (accumulate ? out[0] : 0) + sum;
}

/// One block goes through the labels in order, a block's width at a time.
__global__ void __launch_bounds__(1024) labelled_rows_kernel(const int64_t* labels, int64_t n, int64_t ignore,
                                                             int64_t count, int64_t* rows, int64_t* targets) {
  __shared__ int warp_total[kWarp];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  int64_t found = 0;
  for (int64_t begin = 0; begin < n; begin += blockDim.x) {
    const int64_t i = begin + thread;
    const bool labelled = i < n && labels[i] != ignore;
    int before = labelled;
#pragma unroll
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const int left = __shfl_up_sync(kAllLanes, before, offset);
      if (lane >= offset) before += left;
    }
    __syncthreads();  // the totals of the last round have been read
    if (lane == kWarp - 1) warp_total[warp] = before;
    __syncthreads();
    int64_t at = found + before - labelled;
    for (int w = 0; w < warps; ++w) {
      if (w < warp) at += warp_total[w];
      found += warp_total[w];
    }
    if (labelled && at < count) {
      rows[at] = i;
      targets[at] = labels[i];
    }
  }
  for (int64_t i = found + thread; i < count; i += blockDim.x) {
    rows[i] = -1;
    targets[i] = ignore;
  }
}

float inverse_of(float cap) {
  return cap > 0 ? 1.0f / cap : 0.0f;
}

template <class T>
bool packs_fit(const void* logits, int64_t stride) {
  return divides(kPack<T>, stride) && aligned(16, logits);
}

int cross_entropy(CudaType type, void* logits, int64_t stride, const int64_t* labels, int64_t rows, int64_t v,
                  int64_t ignore, bool with_grad, float grad_scale, float cap, double* row_loss,
                  void* stream) {
  if (rows == 0 || v == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(rows), dim3(kThreads), stream, kernel, static_cast<T*>(logits), stride, labels,
                     v, ignore, with_grad, grad_scale, inverse_of(cap), row_loss);
    };
    packs_fit<T>(logits, stride) ? run(cross_entropy_kernel<T, kPack<T>>) : run(cross_entropy_kernel<T, 1>);
    return launched();
  });
}

int cross_entropy_stats(CudaType type, const void* logits, int64_t stride, const int64_t* labels,
                        int64_t rows, int64_t v, int64_t vocab_begin, float* max, float* sum, float* target,
                        void* stream) {
  if (rows == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(rows), dim3(kThreads), stream, kernel, static_cast<const T*>(logits), stride,
                     labels, v, vocab_begin, max, sum, target);
    };
    packs_fit<T>(logits, stride) ? run(cross_entropy_stats_kernel<T, kPack<T>>)
                                 : run(cross_entropy_stats_kernel<T, 1>);
    return launched();
  });
}

int cross_entropy_grad(CudaType type, void* logits, int64_t stride, const int64_t* labels, int64_t rows,
                       int64_t v, int64_t vocab_begin, int64_t ignore, const float* lse, float scale,
                       float cap, void* stream) {
  if (rows == 0 || v == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(rows), dim3(kThreads), stream, kernel, static_cast<T*>(logits), stride, labels,
                     v, vocab_begin, ignore, lse, scale, inverse_of(cap));
    };
    packs_fit<T>(logits, stride) ? run(cross_entropy_grad_kernel<T, kPack<T>>)
                                 : run(cross_entropy_grad_kernel<T, 1>);
    return launched();
  });
}

int labelled_rows(const int64_t* labels, int64_t n, int64_t ignore, int64_t count, int64_t* rows,
                  int64_t* targets, void* stream) {
  if (count == 0) return 0;
  TESSERA_LAUNCH(dim3(1), dim3(1024), stream, labelled_rows_kernel, labels, n, ignore, count, rows, targets);
  return launched();
}

}  // namespace

int sum_doubles(const double* x, int64_t n, double* out, bool accumulate, void* stream) {
  TESSERA_LAUNCH(dim3(1), dim3(256), stream, sum_doubles_kernel, x, n, out, accumulate);
  return launched();
}

void add_cross_entropy_kernels(kernels::CudaTable& table) {
  table.cross_entropy = cross_entropy;
  table.cross_entropy_stats = cross_entropy_stats;
  table.cross_entropy_grad = cross_entropy_grad;
  table.sum_doubles = sum_doubles;
  table.labelled_rows = labelled_rows;
}

}  // namespace tessera::cuda
