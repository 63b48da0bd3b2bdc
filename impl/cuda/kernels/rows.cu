// Rows picked, summed and weighted by index: token embedding, and the rows around experts.
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 128;

/// 16 bytes, or fewer where rows do not divide into them.
struct alignas(16) Bytes16 {
  uint32_t v[4];
};
template <class B>
struct Filled;
template <>
struct Filled<Bytes16> {
  static __device__ Bytes16 with(uint32_t x) { return {{x, x, x, x}}; }
};
template <>
struct Filled<uint16_t> {
  static __device__ uint16_t with(uint32_t x) { return static_cast<uint16_t>(x); }
};

/// All bits set is a NaN in float32 and in bfloat16.
constexpr uint32_t kNanBits = 0xffffffffu;

/// out[i] = src[index[i] - begin]: NaN for an index outside [0, all), zeros for one outside [begin, begin +
/// rows).
template <class B>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const B* src, const int64_t* index, B* out, int64_t width, int64_t row_blocks,
                  int64_t begin, int64_t rows, int64_t all) {
  const int64_t i = blockIdx.x / row_blocks;
  const int64_t at = blockIdx.x % row_blocks * kThreads + threadIdx.x;
  if (at >= width) return;
  const int64_t row = index[i];
  const bool known = row >= 0 && row < all, here = row >= begin && row < begin + rows;
  out[i * width + at] =
      known && here ? src[(row - begin) * width + at] : Filled<B>::with(known ? 0 : kNanBits);
}

int gather(const void* src, const int64_t* index, void* out, int64_t count, int64_t row_bytes, int64_t begin,
           int64_t rows, int64_t all, void* stream) {
  if (count == 0 || row_bytes == 0) return 0;
  const auto run = [&](auto unit) {
    using B = decltype(unit);
    const int64_t width = row_bytes / static_cast<int64_t>(sizeof(B)), row_blocks = ceil_div(width, kThreads);
    TESSERA_LAUNCH(grid_of(count * row_blocks), dim3(kThreads), stream, gather_kernel<B>,
                   static_cast<const B*>(src), index, static_cast<B*>(out), width, row_blocks, begin, rows,
                   all);
    return launched();
  };
  return divides(16, row_bytes) && aligned(16, src, out) ? run(Bytes16{}) : run(uint16_t{});
}

int embedding(const void* weight, const int64_t* tokens, void* out, int64_t count, int64_t row_bytes,
              int64_t vocab_begin, int64_t vocab_local, int64_t vocab_size, void* stream) {
  return gather(weight, tokens, out, count, row_bytes, vocab_begin, vocab_local, vocab_size, stream);
}

int gather_rows(const void* src, int64_t src_rows, const int64_t* index, void* out, int64_t count,
                int64_t row_bytes, void* stream) {
  return gather(src, index, out, count, row_bytes, 0, src_rows, src_rows, stream);
}

/// Rows of a frequent token that are under way at once: one after the other would wait for memory each time.
constexpr int kFlight = 8;

/// The block of the first of a run of equal tokens adds up the run; the others end at once.
template <class G, class D, int V>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_kernel(G* grad, const D* dy, const int64_t* sorted, const int64_t* order,
                              int64_t count, int64_t h, int64_t row_blocks, int64_t vocab_begin,
                              int64_t vocab_local) {
  const int64_t first = blockIdx.x / row_blocks;
  const int64_t token = sorted[first], row = token - vocab_begin;
  if (first > 0 && sorted[first - 1] == token) return;
  const int64_t at = (blockIdx.x % row_blocks * kThreads + threadIdx.x) * V;
  if (row < 0 || row >= vocab_local || at >= h) return;
  float sum[V] = {};
  bool more = true;
  for (int64_t i = first; more; i += kFlight) {
    float value[kFlight][V];
    bool same[kFlight];
#pragma unroll
    for (int k = 0; k < kFlight; ++k) {
      same[k] = i + k < count && sorted[i + k] == token;
      if (same[k]) load<V>(dy + order[i + k] * h + at, value[k]);
    }
#pragma unroll
    for (int k = 0; k < kFlight; ++k) {
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += same[k] ? value[k][j] : 0.0f;
    }
    more = same[kFlight - 1];
  }
  float before[V];
  load<V>(grad + row * h + at, before);
#pragma unroll
  for (int j = 0; j < V; ++j) before[j] += sum[j];
  store<V>(grad + row * h + at, before);
}

int embedding_backward(CudaType grad_type, void* grad, CudaType dy_type, const void* dy,
                       const int64_t* sorted, const int64_t* order, int64_t count, int64_t h,
                       int64_t vocab_begin, int64_t vocab_local, void* stream) {
  if (count == 0 || h == 0 || vocab_local == 0) return 0;
  return by_type(grad_type, [&](auto to) {
    return by_type(dy_type, [&](auto from) {
      using G = decltype(to);
      using D = decltype(from);
      const bool packs = divides(kWide, h) && aligned(16, grad, dy);
      const int64_t row_blocks = ceil_div(h, kThreads * (packs ? kWide : 1));
      const auto run = [&](auto kernel) {
        TESSERA_LAUNCH(grid_of(count * row_blocks), dim3(kThreads), stream, kernel, static_cast<G*>(grad),
                       static_cast<const D*>(dy), sorted, order, count, h, row_blocks, vocab_begin,
                       vocab_local);
      };
      packs ? run(embedding_backward_kernel<G, D, kWide>) : run(embedding_backward_kernel<G, D, 1>);
      return launched();
    });
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    combine_rows_kernel(const T* rows, int64_t rows_count, const int64_t* positions, const float* weights,
                        T* out, int64_t k, int64_t width, int64_t row_blocks) {
  const int64_t token = blockIdx.x / row_blocks;
  const int64_t at = (blockIdx.x % row_blocks * kThreads + threadIdx.x) * V;
  if (at >= width) return;
  float sum[V] = {};
  for (int64_t choice = token * k; choice < (token + 1) * k; ++choice) {
    const int64_t row = positions[choice];
    if (row < 0) continue;
    const float weight = weights ? weights[choice] : 1.0f;
    float value[V];
    if (row < rows_count) {
      load<V>(rows + row * width + at, value);
    } else {
#pragma unroll
      for (int j = 0; j < V; ++j) value[j] = quiet_nan();
    }
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += weight * value[j];
  }
  store<V>(out + token * width + at, sum);
}

int combine_rows(CudaType type, const void* rows, int64_t rows_count, const int64_t* positions,
                 const float* weights, void* out, int64_t tokens, int64_t k, int64_t width, void* stream) {
  if (tokens == 0 || width == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const bool packs = divides(kPack<T>, width) && aligned(16, rows, out);
    const int64_t row_blocks = ceil_div(width, kThreads * (packs ? kPack<T> : 1));
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(tokens * row_blocks), dim3(kThreads), stream, kernel,
                     static_cast<const T*>(rows), rows_count, positions, weights, static_cast<T*>(out), k,
                     width, row_blocks);
    };
    packs ? run(combine_rows_kernel<T, kPack<T>>) : run(combine_rows_kernel<T, 1>);
    return launched();
  });
}

/// A warp a row.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    row_dots_kernel(const T* a, const T* b, float* out, int64_t rows, int64_t width) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (row >= rows) return;  // whole warps
  float sum = 0;
  for (int64_t i = lane * V; i < width; i += kWarp * V) {
    float x[V], y[V];
    load<V>(a + row * width + i, x);
    load<V>(b + row * width + i, y);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += x[j] * y[j];
  }
  sum = warp_sum(sum);
  if (lane == 0) out[row] = sum;
}

int row_dots(CudaType type, const void* a, const void* b, float* out, int64_t rows, int64_t width,
             void* stream) {
  if (rows == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(ceil_div(rows, kThreads / kWarp)), dim3(kThreads), stream, kernel,
                     static_cast<const T*>(a), static_cast<const T*>(b), out, rows, width);
    };
    const bool packs = divides(kPack<T>, width) && aligned(16, a, b);
    packs ? run(row_dots_kernel<T, kPack<T>>) : run(row_dots_kernel<T, 1>);
    return launched();
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    scale_rows_kernel(T* data, const float* factors, int64_t width, int64_t row_blocks) {
  const int64_t row = blockIdx.x / row_blocks;
  const int64_t at = (blockIdx.x % row_blocks * kThreads + threadIdx.x) * V;
  if (at >= width) return;
  const float factor = factors[row];
  float x[V];
  load<V>(data + row * width + at, x);
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] *= factor;
  store<V>(data + row * width + at, x);
}

int scale_rows(CudaType type, void* data, const float* factors, int64_t rows, int64_t width, void* stream) {
  if (rows == 0 || width == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const bool packs = divides(kPack<T>, width) && aligned(16, data);
    const int64_t row_blocks = ceil_div(width, kThreads * (packs ? kPack<T> : 1));
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(rows * row_blocks), dim3(kThreads), stream, kernel, static_cast<T*>(data),
                     factors, width, row_blocks);
    };
    packs ? run(scale_rows_kernel<T, kPack<T>>) : run(scale_rows_kernel<T, 1>);
    return launched();
  });
}

}  // namespace

void add_row_kernels(kernels::CudaTable& table) {
  table.embedding = embedding;
  table.embedding_backward = embedding_backward;
  table.gather_rows = gather_rows;
  table.combine_rows = combine_rows;
  table.row_dots = row_dots;
  table.scale_rows = scale_rows;
}

}  // namespace tessera::cuda
