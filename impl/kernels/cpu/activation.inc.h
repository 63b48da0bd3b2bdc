// SwiGLU loops; see simd.inc.h for how this file is compiled.

TESSERA_INLINE Vf sigmoid(Vf x) {
  return 1.0f / (1.0f + exp(-x));
}

template <class T>
void swiglu(const void* gate_, int64_t gate_stride, const void* up_, int64_t up_stride, void* y_, int64_t f,
            int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* gate = static_cast<const T*>(gate_) + row * gate_stride;
    const T* up = static_cast<const T*>(up_) + row * up_stride;
    T* y = static_cast<T*>(y_) + row * f;
    for_vectors(f, [&](auto io, int64_t i, int64_t n) {
      const Vf g = io.get(gate + i, n);
      io.put(y + i, g * sigmoid(g) * io.get(up + i, n), n);
    });
  }
}

template <class T>
void swiglu_backward(const void* dy_, int64_t dy_stride, const void* gate_, int64_t gate_stride,
                     const void* up_, int64_t up_stride, void* dgate_, int64_t dgate_stride, void* dup_,
                     int64_t dup_stride, void* y_, int64_t y_stride, int64_t f, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* dy = static_cast<const T*>(dy_) + row * dy_stride;
    const T* gate = static_cast<const T*>(gate_) + row * gate_stride;
    const T* up = static_cast<const T*>(up_) + row * up_stride;
    T* dgate = static_cast<T*>(dgate_) + row * dgate_stride;
    T* dup = static_cast<T*>(dup_) + row * dup_stride;
    T* y = y_ ? static_cast<T*>(y_) + row * y_stride : nullptr;
    for_vectors(f, [&](auto io, int64_t i, int64_t n) {
      const Vf d = io.get(dy + i, n), g = io.get(gate + i, n), u = io.get(up + i, n);
      const Vf s = sigmoid(g), silu = g * s;
      io.put(dgate + i, d * u * (s * (1.0f + g * (1.0f - s))), n);
      io.put(dup + i, d * silu, n);
      if (y) io.put(y + i, silu * u, n);
    });
  }
}
