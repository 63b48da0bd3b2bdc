// Passes over many tensors in few launches: the tensors' addresses travel as kernel parameters, and each
// block takes one chunk of one of them (as apex's multi_tensor_apply).
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {
namespace {

using kernels::AdamWScalars;
using kernels::CudaAdamW;
using kernels::CudaCopy;
using kernels::CudaSgd;
using kernels::CudaSquares;
using kernels::kManyChunk;
using kernels::kManyTensors;
using kernels::SgdScalars;

constexpr int kThreads = 256;

template <class Entry>
struct Batch {
  Entry entry[kManyTensors];
  int first_block[kManyTensors + 1];
  int count;
};
static_assert(sizeof(Batch<CudaAdamW>) + 64 <= 4096, "kernel parameters of older drivers end at 4 KiB");

/// The tensor and chunk of a block.
template <class Entry>
__device__ __forceinline__ const Entry& find(const Batch<Entry>& batch, int64_t& begin, int64_t& end) {
  const int block = static_cast<int>(blockIdx.x);
  int low = 0, high = batch.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (batch.first_block[middle] <= block ? low : high) = middle;
  }
  const Entry& entry = batch.entry[low];
  begin = (block - batch.first_block[low]) * kManyChunk;
  end = begin + kManyChunk < entry.n ? begin + kManyChunk : entry.n;
  return entry;
}

/// Calls launch(batch, blocks, blocks before it) for lists of any length; empty tensors take no part.
template <class Entry, class Launch>
int in_batches(const Entry* list, int64_t count, const Launch& launch) {
  Batch<Entry> batch{};
  int64_t before = 0;
  const auto flush = [&] {
    const int blocks = batch.first_block[batch.count];
    if (blocks > 0) launch(batch, blocks, before);
    before += blocks;
    batch.count = 0;
  };
  for (int64_t i = 0; i < count; ++i) {
    if (list[i].n == 0) continue;
    const int64_t blocks = kernels::many_blocks(list[i].n);
    const int64_t so_far = batch.count > 0 ? batch.first_block[batch.count] : 0;
    if (batch.count == kManyTensors || so_far + blocks > 0x7fffffff) flush();
    batch.first_block[0] = 0;
    batch.entry[batch.count] = list[i];
    batch.first_block[batch.count + 1] = batch.first_block[batch.count] + static_cast<int>(blocks);
    ++batch.count;
  }
  if (batch.count > 0) flush();
  return launched();
}

/// f<N>(i) for packs of V elements of [begin, end), the rest one by one. `begin` is a multiple of V.
template <int V, class F>
__device__ __forceinline__ void for_range(int64_t begin, int64_t end, bool packs, const F& f) {
  if (!packs) {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) f.template operator()<1>(i);
    return;
  }
  const int64_t whole = begin + (end - begin) / V * V;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * V; i < whole; i += kThreads * V) {
    f.template operator()<V>(i);
  }
  for (int64_t i = whole + threadIdx.x; i < end; i += kThreads) f.template operator()<1>(i);
}

__device__ __forceinline__ bool packed(const void* a, const void* b = nullptr, const void* c = nullptr,
                                       const void* d = nullptr, const void* e = nullptr) {
  return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c) |
           reinterpret_cast<uintptr_t>(d) | reinterpret_cast<uintptr_t>(e)) &
          15) == 0;
}

template <class D, class S>
__global__ void __launch_bounds__(kThreads) copy_many_kernel(Batch<CudaCopy> batch, bool add) {
  int64_t begin, end;
  const CudaCopy& entry = find(batch, begin, end);
  const auto* src = static_cast<const S*>(entry.src);
  auto* dst = static_cast<D*>(entry.dst);
  for_range<kWide>(begin, end, packed(src, dst), [&]<int N>(int64_t i) {
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

template <class T>
__device__ double chunk_squares(const T* x, int64_t begin, int64_t end) {
  double sum = 0;
  for_range<kPack<T>>(begin, end, packed(x), [&]<int N>(int64_t i) {
    float value[N];
    load<N>(x + i, value);
#pragma unroll
    for (int j = 0; j < N; ++j) sum += static_cast<double>(value[j]) * static_cast<double>(value[j]);
  });
  return sum;
}

__global__ void __launch_bounds__(kThreads) squares_many_kernel(Batch<CudaSquares> batch, double* partial) {
  __shared__ double scratch[kWarp];
  int64_t begin, end;
  const CudaSquares& entry = find(batch, begin, end);
  const double sum = entry.type == CudaType::f32
                         ? chunk_squares(static_cast<const float*>(entry.src), begin, end)
                         : chunk_squares(static_cast<const Bf16*>(entry.src), begin, end);
  const double total = block_sum(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = total * entry.factor;
}

__global__ void clip_scale_kernel(const double* squares, double max_norm, float* out) {
  const double factor = max_norm / (sqrt(squares[0]) + 1e-6);
  out[0] = static_cast<float>(factor < 1.0 ? factor : factor != factor ? factor : 1.0);
}

/// In the order of operations of torch.optim.AdamW (see cpu/optimizer.inc.h).
template <class T, int N>
__device__ __forceinline__ void adamw_pack(const CudaAdamW& e, const AdamWScalars& s, float grad_scale,
                                           int64_t i) {
  auto* p = static_cast<T*>(e.p);
  float x[N], g[N], m[N], v[N];
  load<N>(p + i, x);
  load<N>(e.g + i, g);
  load<N>(e.m + i, m);
  load<N>(e.v + i, v);
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float grad = g[j] * grad_scale;
    m[j] = m[j] + (grad - m[j]) * s.rest1;
    v[j] = v[j] * s.beta2 + grad * grad * s.rest2;
    x[j] = x[j] * e.decay - m[j] / (sqrtf(v[j]) / s.bias2_sqrt + s.eps) * s.step_size;
  }
  store<N>(e.m + i, m);
  store<N>(e.v + i, v);
  store<N>(p + i, x);
  if (e.copy) store<N>(static_cast<Bf16*>(e.copy) + i, x);
}

__global__ void __launch_bounds__(kThreads)
    adamw_many_kernel(Batch<CudaAdamW> batch, AdamWScalars s, const float* device_scale) {
  int64_t begin, end;
  const CudaAdamW& e = find(batch, begin, end);
  const float grad_scale = device_scale ? s.grad_scale * device_scale[0] : s.grad_scale;
  const bool packs = packed(e.p, e.g, e.m, e.v, e.copy);
  if (e.type == CudaType::f32) {
    for_range<4>(begin, end, packs, [&]<int N>(int64_t i) { adamw_pack<float, N>(e, s, grad_scale, i); });
  } else {
    for_range<8>(begin, end, packs, [&]<int N>(int64_t i) { adamw_pack<Bf16, N>(e, s, grad_scale, i); });
  }
}

template <class T, int N>
__device__ __forceinline__ void sgd_pack(const CudaSgd& e, const SgdScalars& s, float grad_scale, int64_t i) {
  auto* p = static_cast<T*>(e.p);
  float x[N], step[N];
  load<N>(p + i, x);
  load<N>(e.g + i, step);
#pragma unroll
  for (int j = 0; j < N; ++j) step[j] = step[j] * grad_scale + x[j] * e.weight_decay;
  if (e.momentum) {
    float momentum[N];
    load<N>(e.momentum + i, momentum);
#pragma unroll
    for (int j = 0; j < N; ++j) step[j] += momentum[j] * s.momentum;
    store<N>(e.momentum + i, step);
  }
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] -= step[j] * s.lr;
  store<N>(p + i, x);
  if (e.copy) store<N>(static_cast<Bf16*>(e.copy) + i, x);
}

__global__ void __launch_bounds__(kThreads)
    sgd_many_kernel(Batch<CudaSgd> batch, SgdScalars s, const float* device_scale) {
  int64_t begin, end;
  const CudaSgd& e = find(batch, begin, end);
  const float grad_scale = device_scale ? s.grad_scale * device_scale[0] : s.grad_scale;
  const bool packs = packed(e.p, e.g, e.momentum, e.copy);
  if (e.type == CudaType::f32) {
    for_range<4>(begin, end, packs, [&]<int N>(int64_t i) { sgd_pack<float, N>(e, s, grad_scale, i); });
  } else {
    for_range<8>(begin, end, packs, [&]<int N>(int64_t i) { sgd_pack<Bf16, N>(e, s, grad_scale, i); });
  }
}

int copy_many(CudaType dst_type, CudaType src_type, const CudaCopy* list, int64_t count, bool add,
              void* stream) {
  return by_type(dst_type, [&](auto to) {
    return by_type(src_type, [&](auto from) {
      const auto kernel = copy_many_kernel<decltype(to), decltype(from)>;
      return in_batches(list, count, [&](const Batch<CudaCopy>& batch, int blocks, int64_t) {
        TESSERA_LAUNCH(grid_of(blocks), dim3(kThreads), stream, kernel, batch, add);
      });
    });
  });
}

int squares_many(const CudaSquares* list, int64_t count, double* partial, double* out, void* stream) {
  int64_t blocks_total = 0;
  const int failed =
      in_batches(list, count, [&](const Batch<CudaSquares>& batch, int blocks, int64_t before) {
        TESSERA_LAUNCH(grid_of(blocks), dim3(kThreads), stream, squares_many_kernel, batch, partial + before);
        blocks_total = before + blocks;
      });
  if (failed != 0) return failed;
  return sum_doubles(partial, blocks_total, out, false, stream);
}

int clip_scale(const double* squares, double max_norm, float* out, void* stream) {
  TESSERA_LAUNCH(dim3(1), dim3(1), stream, clip_scale_kernel, squares, max_norm, out);
  return launched();
}

int adamw_many(const CudaAdamW* list, int64_t count, AdamWScalars scalars, const float* device_scale,
               void* stream) {
  return in_batches(list, count, [&](const Batch<CudaAdamW>& batch, int blocks, int64_t) {
    TESSERA_LAUNCH(grid_of(blocks), dim3(kThreads), stream, adamw_many_kernel, batch, scalars, device_scale);
  });
}

int sgd_many(const CudaSgd* list, int64_t count, SgdScalars scalars, const float* device_scale,
             void* stream) {
  return in_batches(list, count, [&](const Batch<CudaSgd>& batch, int blocks, int64_t) {
    TESSERA_LAUNCH(grid_of(blocks), dim3(kThreads), stream, sgd_many_kernel, batch, scalars, device_scale);
  });
}

}  // namespace

void add_multi_tensor_kernels(kernels::CudaTable& table) {
  table.copy_many = copy_many;
  table.squares_many = squares_many;
  table.clip_scale = clip_scale;
  table.adamw_many = adamw_many;
  table.sgd_many = sgd_many;
}

}  // namespace tessera::cuda
