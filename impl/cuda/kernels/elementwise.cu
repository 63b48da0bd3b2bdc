// Passes over flat memory, and the column sum that biases and norms end with.
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;

/// Blocks for n elements, a pack of V per thread.
dim3 blocks_for(int64_t n, int pack) {
  return grid_of(ceil_div(n, static_cast<int64_t>(kThreads) * pack));
}

/// f(i, std::true_type-like pack width) over a pack, or over the elements of the last one.
template <int V, class F>
__device__ __forceinline__ void for_pack(int64_t n, const F& f) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V;
  if (i + V <= n) {
    f.template operator()<V>(i);
  } else {
    for (int64_t j = i; j < n; ++j) f.template operator()<1>(j);
  }
}

template <class D, class S, int V>
__global__ void copy_kernel(D* dst, const S* src, int64_t n, bool add) {
  for_pack<V>(n, [&]<int N>(int64_t i) {
    float x[N];
    load<N>(src + i, x);
    if (add) {
      float before[N];
      load<N>(dst + i, before);
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] += before[j];
    }
    store<N>(dst + i, x);
  });
}

template <class T, int V>
__global__ void add_kernel(const T* a, const T* b, T* out, int64_t n) {
  for_pack<V>(n, [&]<int N>(int64_t i) {
    float x[N], y[N];
    load<N>(a + i, x);
    load<N>(b + i, y);
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] += y[j];
    store<N>(out + i, x);
  });
}

template <class T, int V>
__global__ void scale_kernel(T* data, float factor, int64_t n) {
  for_pack<V>(n, [&]<int N>(int64_t i) {
    float x[N];
    load<N>(data + i, x);
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] *= factor;
    store<N>(data + i, x);
  });
}

template <class T, int V>
__global__ void soft_cap_kernel(T* data, float cap, int64_t n) {
  for_pack<V>(n, [&]<int N>(int64_t i) {
    float x[N];
    load<N>(data + i, x);
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] = cap * tanhf(x[j] / cap);
    store<N>(data + i, x);
  });
}

/// All threads that find something write the same value.
template <class T, int V>
__global__ void find_not_finite_kernel(const T* data, int64_t n, int32_t* bad) {
  for_pack<V>(n, [&]<int N>(int64_t i) {
    float x[N];
    load<N>(data + i, x);
    bool found = false;
#pragma unroll
    for (int j = 0; j < N; ++j) found |= !(fabsf(x[j]) <= 3.402823466e38f);
    if (found) *bad = 1;
  });
}

constexpr int kSumWidth = 32, kSumHeight = 8;

/// A block adds up one chunk of kColumnSumRows rows, 32 columns of it; `columns` blocks lie side by side.
template <class T>
__global__ void column_sum_kernel(const T* x, int64_t stride, float* out, int64_t rows, int64_t h,
                                  int64_t columns) {
  __shared__ float part[kSumHeight][kSumWidth];
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  const int64_t chunk = blockIdx.x / columns, column = blockIdx.x % columns * kSumWidth + tx;
  const int64_t begin = chunk * kernels::kColumnSumRows;
  const int64_t end = begin + kernels::kColumnSumRows < rows ? begin + kernels::kColumnSumRows : rows;
  float sum = 0;
  if (column < h) {
#pragma unroll 4
    for (int64_t r = begin + ty; r < end; r += kSumHeight) sum += to_float(x[r * stride + column]);
  }
  part[ty][tx] = sum;
  __syncthreads();
  if (ty != 0 || column >= h) return;
  for (int t = 1; t < kSumHeight; ++t) sum += part[t][tx];
  out[chunk * h + column] = sum;
}

template <class D, class S>
int copy_as(void* dst, const void* src, int64_t n, bool add, void* stream) {
  auto* to = static_cast<D*>(dst);
  const auto* from = static_cast<const S*>(src);
  if (aligned(16, dst, src)) {
    TESSERA_LAUNCH(blocks_for(n, kWide), dim3(kThreads), stream, (copy_kernel<D, S, kWide>), to, from, n,
                   add);
  } else {
    TESSERA_LAUNCH(blocks_for(n, 1), dim3(kThreads), stream, (copy_kernel<D, S, 1>), to, from, n, add);
  }
  return launched();
}

int copy(CudaType dst_type, void* dst, CudaType src_type, const void* src, int64_t n, bool add,
         void* stream) {
  if (n == 0) return 0;
  return by_type(dst_type, [&](auto to) {
    return by_type(
        src_type, [&](auto from) { return copy_as<decltype(to), decltype(from)>(dst, src, n, add, stream); });
  });
}

int add(CudaType type, const void* a, const void* b, void* out, int64_t n, void* stream) {
  if (n == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const int pack = aligned(16, a, b, out) ? kPack<T> : 1;
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(blocks_for(n, pack), dim3(kThreads), stream, kernel, static_cast<const T*>(a),
                     static_cast<const T*>(b), static_cast<T*>(out), n);
    };
    pack > 1 ? run(add_kernel<T, kPack<T>>) : run(add_kernel<T, 1>);
    return launched();
  });
}

int scale(CudaType type, void* x, float factor, int64_t n, void* stream) {
  if (n == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const int pack = aligned(16, x) ? kPack<T> : 1;
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(blocks_for(n, pack), dim3(kThreads), stream, kernel, static_cast<T*>(x), factor, n);
    };
    pack > 1 ? run(scale_kernel<T, kPack<T>>) : run(scale_kernel<T, 1>);
    return launched();
  });
}

int soft_cap(CudaType type, void* x, float cap, int64_t n, void* stream) {
  if (n == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const int pack = aligned(16, x) ? kPack<T> : 1;
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(blocks_for(n, pack), dim3(kThreads), stream, kernel, static_cast<T*>(x), cap, n);
    };
    pack > 1 ? run(soft_cap_kernel<T, kPack<T>>) : run(soft_cap_kernel<T, 1>);
    return launched();
  });
}

int find_not_finite(CudaType type, const void* x, int64_t n, int32_t* bad, void* stream) {
  if (n == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    const int pack = aligned(16, x) ? kPack<T> : 1;
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(blocks_for(n, pack), dim3(kThreads), stream, kernel, static_cast<const T*>(x), n, bad);
    };
    pack > 1 ? run(find_not_finite_kernel<T, kPack<T>>) : run(find_not_finite_kernel<T, 1>);
    return launched();
  });
}

}  // namespace

int column_sum(CudaType type, const void* x, int64_t stride, float* out, float* scratch, int64_t rows,
               int64_t h, void* stream) {
  if (h == 0) return 0;
  const dim3 block(kSumWidth, kSumHeight);
  const auto level = [&](auto* from, int64_t from_stride, int64_t from_rows, float* to, int64_t chunks) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(from)>>;
    const int64_t columns = ceil_div(h, kSumWidth);
    TESSERA_LAUNCH(grid_of(chunks * columns), block, stream, column_sum_kernel<T>, from, from_stride, to,
                   from_rows, h, columns);
  };
  // One chunk even of no rows, which gives zeros.
  const auto chunks_of = [](int64_t n) { return n > 0 ? ceil_div(n, kernels::kColumnSumRows) : 1; };
  int64_t chunks = chunks_of(rows);
  float* to = chunks == 1 ? out : scratch;
  type == CudaType::f32 ? level(static_cast<const float*>(x), stride, rows, to, chunks)
                        : level(static_cast<const Bf16*>(x), stride, rows, to, chunks);
  while (chunks > 1) {
    const float* from = to;
    const int64_t from_rows = chunks;
    chunks = chunks_of(from_rows);
    to = chunks == 1 ? out : to + from_rows * h;
    level(from, h, from_rows, to, chunks);
  }
  return launched();
}

void add_elementwise_kernels(kernels::CudaTable& table) {
  table.copy = copy;
  table.add = add;
  table.scale = scale;
  table.soft_cap = soft_cap;
  table.find_not_finite = find_not_finite;
  table.column_sum = column_sum;
}

}  // namespace tessera::cuda
