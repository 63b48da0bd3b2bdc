// Loops of gated activations; see simd.inc.h for how this file is compiled.

TESSERA_INLINE Vf sigmoid(Vf x) {
  return 1.0f / (1.0f + exp(-x));
}

/// An activation and its derivative.
struct Activated {
  Vf value, slope;
};

struct Silu {};
TESSERA_INLINE Activated activate(Silu, Vf x) {
  const Vf s = sigmoid(x);
  return {x * s, s * (1.0f + x * (1.0f - s))};
}

/// GELU by its tanh approximation (Hendrycks and Gimpel, 2016): x (1 + tanh z) / 2 with z = sqrt(2/pi) (x + a
/// x^3), which is x sigmoid(2 z).
struct GeluTanh {};
TESSERA_INLINE Activated activate(GeluTanh, Vf x) {
  constexpr float kTwice = 1.5957691216057308f;  // 2 sqrt(2/pi)
  constexpr float kCubic = 0.044715f;
  const Vf square = x * x;
  const Vf s = sigmoid(x * (kTwice + kTwice * kCubic * square));
  const Vf dz = kTwice + 3.0f * kTwice * kCubic * square;
  const Vf rest = s * (1.0f - s);
  // Far out the derivative of z passes every bound, but it no longer counts.
  const Vf bend = select((Vi)(rest == 0.0f), Vf{}, x * rest * dz);
  return {x * s, s + bend};
}

/// The factors of a gated activation, y = value * factor, and their derivatives by gate and by up.
struct Gated {
  Vf value, slope;
  Vf factor, factor_slope;
};

template <class Activation>
TESSERA_INLINE Gated gate_up(Activation kind, Vf gate, Vf up) {
  const Activated a = activate(kind, gate);
  return {a.value, a.slope, up, splat(1.0f)};
}

/// Of gpt-oss: both are clamped, the sigmoid is sharper, and 1 is added to up. NaNs pass.
struct ClampedSilu {};
TESSERA_INLINE Gated gate_up(ClampedSilu, Vf gate, Vf up) {
  constexpr float kLimit = 7.0f, kAlpha = 1.702f;
  const Vi high = (Vi)(gate > kLimit), above = (Vi)(up > kLimit), below = (Vi)(up < -kLimit);
  const Vf g = select(high, splat(kLimit), gate);
  const Vf u = select(above, splat(kLimit), select(below, splat(-kLimit), up));
  const Vf s = sigmoid(g * kAlpha);
  const Vf slope = s * (1.0f + g * kAlpha * (1.0f - s));
  return {g * s, select(high, Vf{}, slope), u + 1.0f, select(above | below, Vf{}, splat(1.0f))};
}

template <class T, class Activation>
void gated(Activation kind, const void* gate_, int64_t gate_stride, const void* up_, int64_t up_stride,
           void* y_, int64_t f, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* gate = static_cast<const T*>(gate_) + row * gate_stride;
    const T* up = static_cast<const T*>(up_) + row * up_stride;
    T* y = static_cast<T*>(y_) + row * f;
    for_vectors(f, [&](auto io, int64_t i, int64_t n) {
      const Gated a = gate_up(kind, io.get(gate + i, n), io.get(up + i, n));
      io.put(y + i, a.value * a.factor, n);
    });
  }
}

template <class T, class Activation>
void gated_backward(Activation kind, const void* dy_, int64_t dy_stride, const void* gate_,
                    int64_t gate_stride, const void* up_, int64_t up_stride, void* dgate_,
                    int64_t dgate_stride, void* dup_, int64_t dup_stride, void* y_, int64_t y_stride,
                    int64_t f, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* dy = static_cast<const T*>(dy_) + row * dy_stride;
    const T* gate = static_cast<const T*>(gate_) + row * gate_stride;
    const T* up = static_cast<const T*>(up_) + row * up_stride;
    T* dgate = static_cast<T*>(dgate_) + row * dgate_stride;
    T* dup = static_cast<T*>(dup_) + row * dup_stride;
    T* y = y_ ? static_cast<T*>(y_) + row * y_stride : nullptr;
    for_vectors(f, [&](auto io, int64_t i, int64_t n) {
      const Vf d = io.get(dy + i, n);
      const Gated a = gate_up(kind, io.get(gate + i, n), io.get(up + i, n));
      io.put(dgate + i, d * a.factor * a.slope, n);
      io.put(dup + i, d * a.value * a.factor_slope, n);
      if (y) io.put(y + i, a.value * a.factor, n);
    });
  }
}

template <class T>
void swiglu(const void* gate, int64_t gate_stride, const void* up, int64_t up_stride, void* y, int64_t f,
            int64_t begin, int64_t end) {
  gated<T>(Silu{}, gate, gate_stride, up, up_stride, y, f, begin, end);
}

template <class T>
void geglu(const void* gate, int64_t gate_stride, const void* up, int64_t up_stride, void* y, int64_t f,
           int64_t begin, int64_t end) {
  gated<T>(GeluTanh{}, gate, gate_stride, up, up_stride, y, f, begin, end);
}

template <class T>
void swiglu_backward(const void* dy, int64_t dy_stride, const void* gate, int64_t gate_stride, const void* up,
                     int64_t up_stride, void* dgate, int64_t dgate_stride, void* dup, int64_t dup_stride,
                     void* y, int64_t y_stride, int64_t f, int64_t begin, int64_t end) {
  gated_backward<T>(Silu{}, dy, dy_stride, gate, gate_stride, up, up_stride, dgate, dgate_stride, dup,
                    dup_stride, y, y_stride, f, begin, end);
}

template <class T>
void geglu_backward(const void* dy, int64_t dy_stride, const void* gate, int64_t gate_stride, const void* up,
                    int64_t up_stride, void* dgate, int64_t dgate_stride, void* dup, int64_t dup_stride,
                    void* y, int64_t y_stride, int64_t f, int64_t begin, int64_t end) {
  gated_backward<T>(GeluTanh{}, dy, dy_stride, gate, gate_stride, up, up_stride, dgate, dgate_stride, dup,
                    dup_stride, y, y_stride, f, begin, end);
}

template <class T>
void clamped_swiglu(const void* gate, int64_t gate_stride, const void* up, int64_t up_stride, void* y,
                    int64_t f, int64_t begin, int64_t end) {
  gated<T>(ClampedSilu{}, gate, gate_stride, up, up_stride, y, f, begin, end);
}

template <class T>
void clamped_swiglu_backward(const void* dy, int64_t dy_stride, const void* gate, int64_t gate_stride,
                             const void* up, int64_t up_stride, void* dgate, int64_t dgate_stride, void* dup,
                             int64_t dup_stride, void* y, int64_t y_stride, int64_t f, int64_t begin,
                             int64_t end) {
  gated_backward<T>(ClampedSilu{}, dy, dy_stride, gate, gate_stride, up, up_stride, dgate, dgate_stride, dup,
                    dup_stride, y, y_stride, f, begin, end);
}
