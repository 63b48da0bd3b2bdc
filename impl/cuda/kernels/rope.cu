// Rotary position embedding: a thread turns packs of pairs (i, i + d/2) of one token.
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;

template <class T, int V>
__global__ void rope_kernel(const T* x, int64_t x_stride, T* out, int64_t out_stride, const float* cos,
                            const float* sin, int64_t table_rows, const int64_t* positions, int64_t tokens,
                            int heads, int half, float sign) {
  const int64_t token = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (token >= tokens) return;
  const int64_t position = positions[token];
  const bool known = position >= 0 && position < table_rows;
  const float* c = cos + (known ? position : 0) * half;
  const float* s = sin + (known ? position : 0) * half;
  const int packs = half / V;
  for (int item = static_cast<int>(threadIdx.x); item < heads * packs; item += static_cast<int>(blockDim.x)) {
    const int i = item % packs * V;
    const int64_t at = static_cast<int64_t>(item / packs) * (2 * half) + i;
    float a[V], b[V], cosine[V], sine[V];
    load<V>(x + token * x_stride + at, a);
    load<V>(x + token * x_stride + at + half, b);
    load<V>(c + i, cosine);
    load<V>(s + i, sine);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float turn = sine[j] * sign;
      const float low = a[j] * cosine[j] - b[j] * turn, high = b[j] * cosine[j] + a[j] * turn;
      a[j] = known ? low : quiet_nan();
      b[j] = known ? high : quiet_nan();
    }
    store<V>(out + token * out_stride + at, a);
    store<V>(out + token * out_stride + at + half, b);
  }
}

int rope(CudaType type, const void* x, int64_t x_stride, void* out, int64_t out_stride, const float* cos,
         const float* sin, int64_t table_rows, const int64_t* positions, int64_t tokens, int64_t heads,
         int64_t d, float sign, void* stream) {
  const int64_t half = d / 2;
  if (tokens == 0 || heads == 0 || half == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    constexpr int V = kPack<T>;
    const bool packs = divides(V, half, x_stride, out_stride) && aligned(16, x, out, cos, sin);
    const int64_t items = heads * half / (packs ? V : 1);
    const int across = static_cast<int>(items < kThreads ? items : kThreads);
    const int down = kThreads / across;
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(ceil_div(tokens, down)), dim3(across, down), stream, kernel,
                     static_cast<const T*>(x), x_stride, static_cast<T*>(out), out_stride, cos, sin,
                     table_rows, positions, tokens, static_cast<int>(heads), static_cast<int>(half), sign);
    };
    packs ? run(rope_kernel<T, V>) : run(rope_kernel<T, 1>);
    return launched();
  });
}

}  // namespace

void add_rope_kernels(kernels::CudaTable& table) {
  table.rope = rope;
}

}  // namespace tessera::cuda
