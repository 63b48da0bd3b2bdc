// Cross-entropy loops; see simd.inc.h for how this file is compiled. A row is taken in blocks that stay in
// the first-level cache: the block's maximum, then its exponentials about that maximum. The true row maximum
// enters afterwards as one factor per block, so every exponential is computed once.

template <class T>
TESSERA_INLINE float max_of(const T* x, int64_t n) {
  Vf a = splat(-kInfinity), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = max(load(x + i), a);
    b = max(load(x + i + kLanes), b);
    c = max(load(x + i + 2 * kLanes), c);
    d = max(load(x + i + 3 * kLanes), d);
  }
  for (; i + kLanes <= n; i += kLanes) a = max(load(x + i), a);
  float m = reduce_max(max(max(a, b), max(c, d)));
  for (; i < n; ++i) m = to_float(x[i]) > m ? to_float(x[i]) : m;
  return m;
}

/// Sum of exp(x - reference), each also stored when `out` is not null.
template <class T>
TESSERA_INLINE float exp_sum(const T* x, int64_t n, float reference, float* out) {
  Vf a{}, b{};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const Vf e0 = exp(load(x + i) - reference), e1 = exp(load(x + i + kLanes) - reference);
    a += e0;
    b += e1;
    if (out) {
      store(out + i, e0);
      store(out + i + kLanes, e1);
    }
  }
  for (; i + kLanes <= n; i += kLanes) {
    const Vf e0 = exp(load(x + i) - reference);
    a += e0;
    if (out) store(out + i, e0);
  }
  if (i < n) {
    const Vf e0 = exp(load_part(x + i, n - i) - reference);
    float lane[kLanes];
    store(lane, e0);
    for (int64_t j = n - i; j < kLanes; ++j) lane[j] = 0;
    b += load(lane);
    if (out) store_part(out + i, e0, n - i);
  }
  return reduce_add(a + b);
}

template <class T>
void soft_cap_logits(void* x_, float cap, int64_t begin, int64_t end) {
  T* x = static_cast<T*>(x_) + begin;
  const float inner = 1.0f / cap;
  for_vectors(end - begin,
              [&](auto io, int64_t i, int64_t n) { io.put(x + i, tanh(io.get(x + i, n) * inner) * cap, n); });
}

/// The derivative of the soft cap where it gave `y`: 1 - (y / cap)^2, whose difference is exact near the cap when
/// taken this way. `inverse_square` is 1 / cap^2.
TESSERA_INLINE Vf soft_cap_slope(Vf y, float cap, float inverse_square) {
  return (cap - y) * (cap + y) * inverse_square;
}

struct RowStats {
  float max;
  float sum;  ///< of exp(x - reference_of(max))
};

/// What exponentials are taken about: the maximum, or 0 where all logits are -infinity (a masked block).
TESSERA_INLINE float reference_of(float max) {
  return max == -kInfinity ? 0.0f : max;
}

/// Exponentials to `scratch`, the block maxima behind them.
template <class T>
TESSERA_INLINE RowStats row_stats(const T* x, int64_t v, float* scratch) {
  float* block_max = scratch ? scratch + v : nullptr;
  float row_max = -kInfinity;
  double sum = 0;
  for (int64_t begin = 0; begin < v; begin += kCrossEntropyBlock) {
    const int64_t n = v - begin < kCrossEntropyBlock ? v - begin : kCrossEntropyBlock;
    const float m = max_of(x + begin, n);
    const float s = exp_sum(x + begin, n, reference_of(m), scratch ? scratch + begin : nullptr);
    if (block_max) block_max[begin / kCrossEntropyBlock] = m;
    if (m > row_max) {
      if (row_max != -kInfinity) sum *= __builtin_expf(row_max - m);
      row_max = m;
      sum += s;
    } else {
      // A block of nothing but -infinity has s = 0; a NaN in the block is in s.
      sum += s * (m == -kInfinity ? 1.0f : __builtin_expf(m - row_max));
    }
  }
  return {row_max, static_cast<float>(sum)};
}

template <class T>
void cross_entropy(void* logits_, int64_t stride, const int64_t* labels, int64_t v, int64_t ignore,
                   const float* grad_scale, float cap, double* row_loss, float* scratch, int64_t begin,
                   int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    T* x = static_cast<T*>(logits_) + row * stride;
    const int64_t label = labels[row];
    row_loss[row] = 0;
    if (label == ignore) {
      if (grad_scale) __builtin_memset(x, 0, static_cast<size_t>(v) * sizeof(T));
      continue;
    }
    const RowStats stats = row_stats(x, v, grad_scale ? scratch : nullptr);
    const float log_sum = __builtin_logf(stats.sum);
    const float target = to_float(x[label]);
    row_loss[row] = static_cast<double>(log_sum) + (static_cast<double>(stats.max) - target);
    if (!grad_scale) continue;
    const float scale = *grad_scale, inverse_square = cap > 0 ? 1.0f / (cap * cap) : 0.0f;
    for (int64_t b = 0; b < v; b += kCrossEntropyBlock) {
      const int64_t n = v - b < kCrossEntropyBlock ? v - b : kCrossEntropyBlock;
      const float m = scratch[v + b / kCrossEntropyBlock];
      const float probability =
          m == -kInfinity ? 1.0f / stats.sum : __builtin_expf(m - stats.max) / stats.sum;
      const float factor = probability * scale;
      const float* e = scratch + b;
      T* out = x + b;
      for_vectors(n, [&](auto io, int64_t i, int64_t lanes) {
        Vf g = io.get(e + i, lanes) * factor;
        if (cap > 0) g *= soft_cap_slope(io.get(out + i, lanes), cap, inverse_square);
        io.put(out + i, g, lanes);
      });
    }
    const float p = __builtin_expf(target - stats.max) / stats.sum;
    Vf g = splat((p - 1.0f) * scale);
    if (cap > 0) g *= soft_cap_slope(splat(target), cap, inverse_square);
    T last[1];
    store_part(last, g, 1);
    x[label] = last[0];
  }
}

template <class T>
void cross_entropy_stats(const void* logits_, int64_t stride, const int64_t* labels, int64_t v,
                         int64_t vocab_begin, float* max, float* sum, float* target, int64_t begin,
                         int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(logits_) + row * stride;
    const RowStats stats = row_stats(x, v, static_cast<float*>(nullptr));
    const int64_t column = labels[row] - vocab_begin;
    max[row] = stats.max;
    sum[row] = stats.sum;
    target[row] = labels[row] >= 0 && column >= 0 && column < v ? to_float(x[column]) : 0.0f;
  }
}

template <class T>
void cross_entropy_grad(void* logits_, int64_t stride, const int64_t* labels, int64_t v, int64_t vocab_begin,
                        int64_t ignore, const float* lse, float scale, float cap, int64_t begin,
                        int64_t end) {
  const float inverse_square = cap > 0 ? 1.0f / (cap * cap) : 0.0f;
  for (int64_t row = begin; row < end; ++row) {
    T* x = static_cast<T*>(logits_) + row * stride;
    if (labels[row] == ignore) {
      __builtin_memset(x, 0, static_cast<size_t>(v) * sizeof(T));
      continue;
    }
    const int64_t column = labels[row] - vocab_begin;
    const bool inside = labels[row] >= 0 && column >= 0 && column < v;
    const float target = inside ? to_float(x[column]) : 0.0f;
    const float reference = lse[row];
    for_vectors(v, [&](auto io, int64_t i, int64_t n) {
      const Vf y = io.get(x + i, n);
      Vf g = exp(y - reference) * scale;
      if (cap > 0) g *= soft_cap_slope(y, cap, inverse_square);
      io.put(x + i, g, n);
    });
    if (inside) {
      Vf g = splat((__builtin_expf(target - reference) - 1.0f) * scale);
      if (cap > 0) g *= soft_cap_slope(splat(target), cap, inverse_square);
      T last[1];
      store_part(last, g, 1);
      x[column] = last[0];
    }
  }
}
