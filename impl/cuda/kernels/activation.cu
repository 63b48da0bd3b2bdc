// Gated activations: y = f(gate) * up with f = silu (SwiGLU) or gelu (GeGLU), gpt-oss' clamped SwiGLU, and
// both gradients in one pass.
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {
namespace {

using kernels::GatedActivation;

constexpr int kThreads = 256;

/// Results that are rounded to bfloat16 take the hardware's exponential and reciprocal, whose error of a few
/// units in float32's last place is far below that rounding.
template <class T>
__device__ __forceinline__ float sigmoid(float x) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == 2) return __fdividef(1.0f, 1.0f + __expf(-x));
#endif
  return 1.0f / (1.0f + expf(-x));
}

struct Activated {
  float value;  ///< f(g)
  float slope;  ///< f'(g)
};

template <class T>
__device__ __forceinline__ Activated activate(GatedActivation activation, float g) {
  if (activation == GatedActivation::silu) {
    const float s = sigmoid<T>(g);
    return {g * s, s * (1.0f + g * (1.0f - s))};
  }
  if (activation == GatedActivation::gelu_erf) {
    const float area = 0.5f * (1.0f + erff(g * 0.70710678118654752f));
    return {g * area, area + g * 0.39894228040143268f * expf(-0.5f * g * g)};
  }
  constexpr float kScale = 0.79788456080286536f, kCubic = 0.044715f;
  const float t = tanhf(kScale * (g + kCubic * g * g * g));
  const float half = 0.5f * (1.0f + t);
  return {g * half, half + 0.5f * g * (1.0f - t * t) * kScale * (1.0f + 3.0f * kCubic * g * g)};
}

/// The factors of y = value * factor, and their derivatives by gate and by up.
struct Gated {
  float value, slope;
  float factor, factor_slope;
};

template <class T>
__device__ __forceinline__ Gated gate_up(GatedActivation activation, float g, float u) {
  if (activation != GatedActivation::clamped_silu) {
    const Activated a = activate<T>(activation, g);
    return {a.value, a.slope, u, 1.0f};
  }
  constexpr float kLimit = 7.0f, kAlpha = 1.702f;
  const bool high = g > kLimit, beyond = u > kLimit || u < -kLimit;  // NaNs pass
  if (high) g = kLimit;
  if (beyond) u = u > 0.0f ? kLimit : -kLimit;
  const float s = sigmoid<T>(g * kAlpha);
  const float slope = s * (1.0f + g * kAlpha * (1.0f - s));
  return {g * s, high ? 0.0f : slope, u + 1.0f, beyond ? 0.0f : 1.0f};
}

template <class T, int V>
__global__ void gated_kernel(GatedActivation activation, const T* gate, int64_t gate_stride, const T* up,
                             int64_t up_stride, T* y, int64_t y_stride, int64_t f, int64_t row_blocks) {
  const int64_t row = blockIdx.x / row_blocks;
  const int64_t i = (blockIdx.x % row_blocks * kThreads + threadIdx.x) * V;
  if (i >= f) return;
  float g[V], u[V];
  load<V>(gate + row * gate_stride + i, g);
  load<V>(up + row * up_stride + i, u);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const Gated a = gate_up<T>(activation, g[j], u[j]);
    u[j] = a.value * a.factor;
  }
  store<V>(y + row * y_stride + i, u);
}

/// dgate and dup may be the memory of dy, gate or up: a thread reads all of its elements before it writes.
template <class T, int V>
__global__ void gated_backward_kernel(GatedActivation activation, const T* dy, int64_t dy_stride,
                                      const T* gate, int64_t gate_stride, const T* up, int64_t up_stride,
                                      T* dgate, int64_t dgate_stride, T* dup, int64_t dup_stride, T* y,
                                      int64_t y_stride, int64_t f, int64_t row_blocks) {
  const int64_t row = blockIdx.x / row_blocks;
  const int64_t i = (blockIdx.x % row_blocks * kThreads + threadIdx.x) * V;
  if (i >= f) return;
  float d[V], g[V], u[V], again[V];
  load<V>(dy + row * dy_stride + i, d);
  load<V>(gate + row * gate_stride + i, g);
  load<V>(up + row * up_stride + i, u);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const Gated a = gate_up<T>(activation, g[j], u[j]);
    again[j] = a.value * a.factor;
    g[j] = d[j] * a.factor * a.slope;
    d[j] *= a.value * a.factor_slope;
  }
  store<V>(dgate + row * dgate_stride + i, g);
  store<V>(dup + row * dup_stride + i, d);
  if (y) store<V>(y + row * y_stride + i, again);
}

int gated(CudaType type, GatedActivation activation, const void* gate, int64_t gate_stride, const void* up,
          int64_t up_stride, void* y, int64_t y_stride, int64_t rows, int64_t f, void* stream) {
  if (rows == 0 || f == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    constexpr int V = kPack<T>;
    const bool packs = divides(V, f, gate_stride, up_stride, y_stride) && aligned(16, gate, up, y);
    const int64_t row_blocks = ceil_div(f, kThreads * (packs ? V : 1));
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(rows * row_blocks), dim3(kThreads), stream, kernel, activation,
                     static_cast<const T*>(gate), gate_stride, static_cast<const T*>(up), up_stride,
                     static_cast<T*>(y), y_stride, f, row_blocks);
    };
    packs ? run(gated_kernel<T, V>) : run(gated_kernel<T, 1>);
    return launched();
  });
}

int gated_backward(CudaType type, GatedActivation activation, const void* dy, int64_t dy_stride,
                   const void* gate, int64_t gate_stride, const void* up, int64_t up_stride, void* dgate,
                   int64_t dgate_stride, void* dup, int64_t dup_stride, void* y, int64_t y_stride,
                   int64_t rows, int64_t f, void* stream) {
  if (rows == 0 || f == 0) return 0;
  return by_type(type, [&](auto element) {
    using T = decltype(element);
    constexpr int V = kPack<T>;
    const bool packs = divides(V, f, dy_stride, gate_stride, up_stride, dgate_stride, dup_stride, y_stride) &&
                       aligned(16, dy, gate, up, dgate, dup, y);
    const int64_t row_blocks = ceil_div(f, kThreads * (packs ? V : 1));
    const auto run = [&](auto kernel) {
      TESSERA_LAUNCH(grid_of(rows * row_blocks), dim3(kThreads), stream, kernel, activation,
                     static_cast<const T*>(dy), dy_stride, static_cast<const T*>(gate), gate_stride,
                     static_cast<const T*>(up), up_stride, static_cast<T*>(dgate), dgate_stride,
                     static_cast<T*>(dup), dup_stride, static_cast<T*>(y), y_stride, f, row_blocks);
    };
    packs ? run(gated_backward_kernel<T, V>) : run(gated_backward_kernel<T, 1>);
    return launched();
  });
}

}  // namespace

void add_activation_kernels(kernels::CudaTable& table) {
  table.gated = gated;
  table.gated_backward = gated_backward;
}

}  // namespace tessera::cuda
