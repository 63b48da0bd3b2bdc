// RMSNorm and rotary loops; see simd.inc.h for how this file is compiled.

TESSERA_INLINE int64_t row_offset(RowLayout l, int64_t row) {
  if (l.inner_count == 1) return row * l.outer_stride;
  return (row / l.inner_count) * l.outer_stride + (row % l.inner_count) * l.inner_stride;
}

/// Four partial sums hide the latency of the additions; they are joined in a fixed order.
template <class T>
TESSERA_INLINE float sum_squares_row(const T* x, int64_t h) {
  Vf a{}, b{}, c{}, d{};
  int64_t i = 0;
  for (; i + 4 * kLanes <= h; i += 4 * kLanes) {
    const Vf x0 = load(x + i), x1 = load(x + i + kLanes), x2 = load(x + i + 2 * kLanes),
             x3 = load(x + i + 3 * kLanes);
    a += x0 * x0;
    b += x1 * x1;
    c += x2 * x2;
    d += x3 * x3;
  }
  for (; i < h; i += kLanes) {
    const Vf x0 = i + kLanes <= h ? load(x + i) : load_part(x + i, h - i);
    a += x0 * x0;
  }
  return reduce_add((a + b) + (c + d));
}

template <class T, bool OnePlus>
void rms_norm_rows(const void* x_, RowLayout xl, const void* residual_, const void* w_, void* sum_, void* y_,
                   float* rstd, int64_t h, float eps, int64_t begin, int64_t end) {
  const T* w = static_cast<const T*>(w_);
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(x_) + row_offset(xl, row);
    T* y = static_cast<T*>(y_) + row * h;
    if (residual_) {
      const T* residual = static_cast<const T*>(residual_) + row * h;
      T* sum = static_cast<T*>(sum_) + row * h;
      for_vectors(h, [&](auto io, int64_t i, int64_t n) {
        io.put(sum + i, io.get(x + i, n) + io.get(residual + i, n), n);
      });
      x = sum;
    }
    const float r = 1.0f / __builtin_sqrtf(sum_squares_row(x, h) / static_cast<float>(h) + eps);
    rstd[row] = r;
    for_vectors(h, [&](auto io, int64_t i, int64_t n) {
      const Vf x_hat = io.get(x + i, n) * r, weight = io.get(w + i, n);
      io.put(y + i, OnePlus ? x_hat * (weight + 1.0f) : rounded_to(y, x_hat) * weight, n);
    });
  }
}

template <class T>
void rms_norm(const void* x, RowLayout xl, const void* residual, const void* w, void* sum, void* y,
              float* rstd, int64_t h, float eps, bool one_plus, int64_t begin, int64_t end) {
  const auto rows = one_plus ? rms_norm_rows<T, true> : rms_norm_rows<T, false>;
  rows(x, xl, residual, w, sum, y, rstd, h, eps, begin, end);
}

template <class T, bool OnePlus>
void rms_norm_backward_rows(const void* dy_, const void* x_, RowLayout xl, const void* w_, const float* rstd,
                            const void* dresidual_, void* dx_, float* dw, int64_t h, int64_t begin,
                            int64_t end) {
  // What the normalised value was multiplied by.
  const auto gain = [](Vf weight) { return OnePlus ? weight + 1.0f : weight; };
  const T* w = static_cast<const T*>(w_);
  for (int64_t i = 0; i < h; ++i) dw[i] = 0;
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(x_) + row_offset(xl, row);
    const T* dy = static_cast<const T*>(dy_) + row * h;
    const T* dres = dresidual_ ? static_cast<const T*>(dresidual_) + row * h : nullptr;
    T* dx = static_cast<T*>(dx_) + row * h;
    const float r = rstd[row];
    Vf a{}, b{};
    int64_t i = 0;
    for (; i + 2 * kLanes <= h; i += 2 * kLanes) {
      a += load(dy + i) * gain(load(w + i)) * load(x + i);
      b += load(dy + i + kLanes) * gain(load(w + i + kLanes)) * load(x + i + kLanes);
    }
    for (; i < h; i += kLanes) {
      const int64_t n = h - i;
      a += n >= kLanes ? load(dy + i) * gain(load(w + i)) * load(x + i)
                       : load_part(dy + i, n) * gain(load_part(w + i, n)) * load_part(x + i, n);
    }
    // dx = rstd * (g - x_hat * mean(g x_hat)), with g = dy w and x_hat = x rstd
    const float slope = reduce_add(a + b) * r * r * r / static_cast<float>(h);
    for_vectors(h, [&](auto io, int64_t j, int64_t n) {
      const Vf xv = io.get(x + j, n), g = io.get(dy + j, n);
      io.put(dw + j, io.get(dw + j, n) + g * (xv * r), n);
      Vf out = g * gain(io.get(w + j, n)) * r - xv * slope;
      if (dres) out += io.get(dres + j, n);
      io.put(dx + j, out, n);
    });
  }
}

template <class T>
void rms_norm_backward(const void* dy, const void* x, RowLayout xl, const void* w, const float* rstd,
                       const void* dresidual, void* dx, float* dw, int64_t h, bool one_plus, int64_t begin,
                       int64_t end) {
  const auto rows = one_plus ? rms_norm_backward_rows<T, true> : rms_norm_backward_rows<T, false>;
  rows(dy, x, xl, w, rstd, dresidual, dx, dw, h, begin, end);
}

template <class T>
void rope(const void* x_, int64_t x_stride, void* out_, int64_t out_stride, const float* cos,
          const float* sin, const int64_t* positions, int64_t heads, int64_t d, int64_t half, float sign,
          int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const float* c = cos + positions[t] * half;
    const float* s = sin + positions[t] * half;
    for (int64_t head = 0; head < heads; ++head) {
      const T* x = static_cast<const T*>(x_) + t * x_stride + head * d;
      T* out = static_cast<T*>(out_) + t * out_stride + head * d;
      for_vectors(half, [&](auto io, int64_t i, int64_t n) {
        const Vf a = io.get(x + i, n), b = io.get(x + half + i, n);
        const Vf cv = io.get(c + i, n), sv = io.get(s + i, n) * sign;
        io.put(out + i, a * cv - b * sv, n);
        io.put(out + half + i, b * cv + a * sv, n);
      });
      const int64_t rest = d - 2 * half;
      if (rest > 0 && out != x)
        __builtin_memcpy(out + 2 * half, x + 2 * half, static_cast<size_t>(rest) * sizeof(T));
    }
  }
}

TESSERA_INLINE Vf swap_neighbours(Vf x) {
#if defined(__clang__)
  Vf swapped;
  for (int i = 0; i < kLanes; ++i) swapped[i] = x[i ^ 1];
  return swapped;
#else
  Vi order;
  for (int i = 0; i < kLanes; ++i) order[i] = i ^ 1;
  return (Vf)__builtin_shuffle((Vi)x, order);
#endif
}

template <class T>
void rope_neighbours(const void* x_, RowLayout xl, void* out_, RowLayout outl, const float* cos,
                     const float* sin, const int64_t* positions, int64_t half, float sign, int64_t begin,
                     int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const float* c = cos + positions[t] * half;
    const float* s = sin + positions[t] * half;
    for_vectors(2 * half, [&](auto io, int64_t i, int64_t n) {
      // The angles of a vector's pairs are laid out once for all heads.
      float cosines[kLanes] = {}, sines[kLanes] = {};
      for (int64_t j = 0; j < n; j += 2) {
        cosines[j] = cosines[j + 1] = c[(i + j) / 2];
        sines[j + 1] = s[(i + j) / 2] * sign;
        sines[j] = -sines[j + 1];
      }
      const Vf cv = load(cosines), sv = load(sines);
      for (int64_t head = 0; head < xl.inner_count; ++head) {
        const T* x = static_cast<const T*>(x_) + t * xl.outer_stride + head * xl.inner_stride + i;
        T* out = static_cast<T*>(out_) + t * outl.outer_stride + head * outl.inner_stride + i;
        const Vf v = io.get(x, n);
        io.put(out, v * cv + swap_neighbours(v) * sv, n);
      }
    });
  }
}
