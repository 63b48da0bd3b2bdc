// Element-wise parts and re-layouts of the attention tiles; see simd.inc.h for how this file is compiled.
// Tiles hold keys along rows and queries along columns, so maxima and sums over keys are vertical and nothing
// is reduced across lanes.

/// Transposes one kLanes x kLanes block of 32-bit elements held in registers: in stage s, rows whose numbers
/// differ in bit s exchange the lanes that differ in bit s.
template <int Step>
TESSERA_INLINE void exchange(Vi* row) {
  Vi low, high;
  for (int i = 0; i < kLanes; ++i) {
    low[i] = (i & Step) ? kLanes + i - Step : i;
    high[i] = (i & Step) ? kLanes + i : i + Step;
  }
  for (int i = 0; i < kLanes; ++i) {
    if (i & Step) continue;
    const Vi a = row[i], b = row[i + Step];
#if defined(__clang__)
    for (int lane = 0; lane < kLanes; ++lane) {
      row[i][lane] = low[lane] < kLanes ? a[low[lane]] : b[low[lane] - kLanes];
      row[i + Step][lane] = high[lane] < kLanes ? a[high[lane]] : b[high[lane] - kLanes];
    }
#else
    row[i] = __builtin_shuffle(a, b, low);
    row[i + Step] = __builtin_shuffle(a, b, high);
#endif
  }
}

/// dst [columns][dst_stride] = src [rows][src_stride] transposed; 32-bit elements, both sizes multiples
/// of 16.
void transpose32(const void* src_, int64_t src_stride, void* dst_, int64_t dst_stride, int64_t rows,
                 int64_t columns) {
  const float* src = static_cast<const float*>(src_);
  float* dst = static_cast<float*>(dst_);
  for (int64_t r = 0; r < rows; r += kLanes) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vi block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) block[i] = (Vi)load(src + (r + i) * src_stride + c);
      exchange<1>(block);
      exchange<2>(block);
      if constexpr (kLanes >= 8) exchange<4>(block);
      if constexpr (kLanes >= 16) exchange<8>(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(dst + (c + i) * dst_stride + r, (Vf)block[i]);
    }
  }
}

/// A dense tile [tile_rows][tile_d] from `rows` rows of d elements; the rest is zero.
template <class T>
void load_tile(const void* src_, int64_t stride, int64_t rows, int64_t d, void* tile_, int64_t tile_rows,
               int64_t tile_d) {
  const T* src = static_cast<const T*>(src_);
  T* tile = static_cast<T*>(tile_);
  for (int64_t r = 0; r < tile_rows; ++r) {
    const int64_t filled = r < rows ? d : 0;
    if (filled) __builtin_memcpy(tile + r * tile_d, src + r * stride, static_cast<size_t>(d) * sizeof(T));
    __builtin_memset(tile + r * tile_d + filled, 0, static_cast<size_t>(tile_d - filled) * sizeof(T));
  }
}

/// The second operand of a product whose inner dimension is the head: element (d, row) of a tile
/// [rows][tile_d]. float32: [tile_d][rows]. bfloat16: pairs of d stay together, [tile_d / 2][rows][2].
template <class T>
void transpose_tile(const void* tile, void* out, int64_t rows, int64_t tile_d) {
  const int64_t words = tile_d * static_cast<int64_t>(sizeof(T)) / 4;
  transpose32(tile, words, out, rows, rows, words);
}

/// The first operand [tile_d][rows] of a product whose inner dimension is the row.
TESSERA_INLINE void transpose_plain_of(const float* tile, float* out, float*, int64_t rows, int64_t tile_d) {
  transpose32(tile, tile_d, out, rows, rows, tile_d);
}
TESSERA_INLINE void transpose_plain_of(const Bf16* tile, Bf16* out, float* scratch, int64_t rows,
                                       int64_t tile_d) {
  float* wide = scratch;
  float* turned = scratch + rows * tile_d;
  for (int64_t i = 0; i < rows * tile_d; i += kLanes) store(wide + i, load(tile + i));
  transpose32(wide, tile_d, turned, rows, rows, tile_d);
  for (int64_t i = 0; i < rows * tile_d; i += kLanes) store(out + i, load(turned + i));
}
template <class T>
void transpose_plain(const void* tile, void* out, float* scratch, int64_t rows, int64_t tile_d) {
  transpose_plain_of(static_cast<const T*>(tile), static_cast<T*>(out), scratch, rows, tile_d);
}

TESSERA_INLINE Vu bits_of_bf16(Vf x) {
  return __builtin_convertvector(to_bf16(x), Vu);
}

/// Two bfloat16 rows element by element into pairs.
TESSERA_INLINE void store_pairs(Bf16* out, Vf even, Vf odd) {
  store(reinterpret_cast<float*>(out), (Vf)(bits_of_bf16(even) | (bits_of_bf16(odd) << 16)));
}

/// The second operand of a product whose inner dimension is the row: bfloat16 rows in pairs, [rows /
/// 2][tile_d][2]. float32 tiles are used as they are.
void interleave_rows(const void* tile_, void* out_, int64_t rows, int64_t tile_d) {
  const Bf16* tile = static_cast<const Bf16*>(tile_);
  Bf16* out = static_cast<Bf16*>(out_);
  for (int64_t r = 0; r < rows; r += 2) {
    for (int64_t c = 0; c < tile_d; c += kLanes) {
      const Vu even = (Vu)load(tile + r * tile_d + c), odd = (Vu)load(tile + (r + 1) * tile_d + c);
      store(reinterpret_cast<float*>(out + r * tile_d + 2 * c), (Vf)((even >> 16) | odd));
    }
  }
}

/// Lane numbers 0, 1, ...
TESSERA_INLINE Vi iota() {
  Vi v;
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

/// Which columns of a row are visible: all but those outside [first, last).
TESSERA_INLINE Vi hidden(int64_t column, int64_t first, int64_t last) {
  const Vi c = iota() + static_cast<int32_t>(column);
  return (c < static_cast<int32_t>(first)) | (c >= static_cast<int32_t>(last));
}

struct VisibleColumns {
  int64_t first, last;
};
TESSERA_INLINE VisibleColumns visible(const AttentionMask& mask, int64_t row) {
  if (row >= mask.rows) return {0, 0};
  const int64_t first = mask.first + row;
  return {first, mask.window > 0 ? first + mask.window : int64_t{1} << 30};
}

/// Scores become cap * tanh(score * scale / cap), which never passes cap.
void soft_cap(float* scores, int64_t count, float scale, float cap) {
  const float inner = scale / cap;
  for (int64_t i = 0; i < count; i += kLanes) store(scores + i, tanh(load(scores + i) * inner) * cap);
}

/// One block of the online softmax: scores [rows][columns] become probabilities about the running maximum, to
/// p in the layout of a second operand; maximum, sum and O [tile_d][columns] are brought to the new maximum.
template <class T>
void attention_softmax(float* scores, int64_t rows, int64_t columns, float scale, const AttentionMask* mask,
                       float* maximum, float* sum, void* p_, float* o, int64_t tile_d) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    Vf top = splat(-kInfinity), top2 = top;
    if (mask) {
      for (int64_t r = 0; r < rows; ++r) {
        const VisibleColumns v = visible(*mask, r);
        const Vf x =
            select(hidden(c, v.first, v.last), splat(-kInfinity), load(scores + r * columns + c) * scale);
        store(scores + r * columns + c, x);
        top = max(x, top);
      }
    } else {
      for (int64_t r = 0; r < rows; r += 2) {
        top = max(load(scores + r * columns + c), top);
        top2 = max(load(scores + (r + 1) * columns + c), top2);
      }
      top = max(top, top2);
      top *= scale;  // scale is positive
    }
    const Vf before = load(maximum + c), after = max(top, before);
    const Vf reference = select((Vi)(after == -kInfinity), Vf{}, after);  // a column that has seen no key yet
    const Vf alpha = exp(before - reference);
    const float factor = mask ? 1.0f : scale;
    Vf total{}, total2{};
    for (int64_t r = 0; r < rows; r += 2) {
      const Vf e0 = exp(load(scores + r * columns + c) * factor - reference);
      const Vf e1 = exp(load(scores + (r + 1) * columns + c) * factor - reference);
      total += e0;
      total2 += e1;
      if constexpr (sizeof(T) == 2) {
        store_pairs(static_cast<Bf16*>(p_) + r * columns + 2 * c, e0, e1);
      } else {
        store(scores + r * columns + c, e0);
        store(scores + (r + 1) * columns + c, e1);
      }
    }
    store(sum + c, load(sum + c) * alpha + (total + total2));
    store(maximum + c, after);
    bool moved = false;
    float lane[kLanes];
    store(lane, alpha);
    for (int i = 0; i < kLanes; ++i) moved |= !(lane[i] == 1.0f);
    if (moved) {
      for (int64_t r = 0; r < tile_d; ++r) store(o + r * columns + c, load(o + r * columns + c) * alpha);
    }
  }
}

/// O / sum and the log-sum-exp, both with the sink (-infinity: none); columns that saw nothing: 0 and
/// -infinity.
void attention_finish(float* o, const float* maximum, const float* sum, float* lse, int64_t columns,
                      int64_t tile_d, float sink) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vf s = load(sum + c), m = load(maximum + c), top = max(m, splat(sink)), share = exp(m - top);
    const Vf total = s * share + exp(sink - top);
    const Vi nothing = (Vi)(s == 0.0f);
    const Vf factor = select(nothing, Vf{}, share / total);
    for (int64_t r = 0; r < tile_d; ++r) store(o + r * columns + c, load(o + r * columns + c) * factor);
    float lane[kLanes];
    store(lane, total);
    for (int i = 0; i < kLanes; ++i) lane[i] = __builtin_logf(lane[i]);
    store(lse + c, select(nothing, splat(-kInfinity), load(lane) + top));
  }
}

/// Rows of a float32 tile [rows][tile_d] to memory: out = or += tile, d elements of each row.
template <class T>
void store_tile(const float* tile, int64_t tile_d, void* out_, int64_t stride, int64_t rows, int64_t d,
                bool accumulate) {
  T* out = static_cast<T*>(out_);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = tile + r * tile_d;
    T* to = out + r * stride;
    for_vectors(d, [&](auto io, int64_t i, int64_t n) {
      const Vf x = io.get(from + i, n);
      io.put(to + i, accumulate ? x + io.get(to + i, n) : x, n);
    });
  }
}

/// delta[r] = sum of a[r] * b[r] over dense rows of d elements.
template <class T>
void row_dots(const void* a_, int64_t a_stride, const void* b_, int64_t b_stride, float* delta, int64_t rows,
              int64_t d) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* a = static_cast<const T*>(a_) + r * a_stride;
    const T* b = static_cast<const T*>(b_) + r * b_stride;
    Vf total{};
    for_vectors(d, [&](auto io, int64_t i, int64_t n) { total += io.get(a + i, n) * io.get(b + i, n); });
    delta[r] = reduce_add(total);
  }
}

template <class T, bool Capped>
void backward_tile_of(float* scores, float* dp, int64_t rows, int64_t columns, float scale, float cap,
                      const AttentionMask* mask, const float* lse, const float* delta, void* p_, void* ds_,
                      void* ds_pairs_) {
  const float inner = Capped ? scale / cap : 0.0f;
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vf l = load(lse + c), dl = load(delta + c);
    const auto one = [&](int64_t r, Vf& p, Vf& ds) {
      Vf factor = splat(scale), x = load(scores + r * columns + c);
      if constexpr (Capped) {
        const Vf t = tanh(x * inner);
        x = t * cap;
        factor *= 1.0f - t * t;
      } else {
        x *= scale;
      }
      p = exp(x - l);
      if (mask) {
        const VisibleColumns v = visible(*mask, r);
        p = select(hidden(c, v.first, v.last), Vf{}, p);
      }
      ds = p * (load(dp + r * columns + c) - dl) * factor;
    };
    for (int64_t r = 0; r < rows; r += 2) {
      Vf p0, p1, ds0, ds1;
      one(r, p0, ds0);
      one(r + 1, p1, ds1);
      if constexpr (sizeof(T) == 2) {
        Bf16* p = static_cast<Bf16*>(p_) + r * columns + c;
        Bf16* ds = static_cast<Bf16*>(ds_) + r * columns + c;
        store(p, p0);
        store(p + columns, p1);
        store(ds, ds0);
        store(ds + columns, ds1);
        store_pairs(static_cast<Bf16*>(ds_pairs_) + r * columns + 2 * c, ds0, ds1);
      } else {
        store(scores + r * columns + c, p0);
        store(scores + (r + 1) * columns + c, p1);
        store(dp + r * columns + c, ds0);
        store(dp + (r + 1) * columns + c, ds1);
      }
    }
  }
}

/// From scores and dP (both [rows][columns]) to P and dS = P (dP - delta) scale, with `cap` > 0 times the
/// derivative of soft_cap. float32: in place. bfloat16: P and dS as first operands (rows), dS also as second
/// operand (row pairs).
template <class T>
void attention_backward_tile(float* scores, float* dp, int64_t rows, int64_t columns, float scale, float cap,
                             const AttentionMask* mask, const float* lse, const float* delta, void* p,
                             void* ds, void* ds_pairs) {
  const auto tile = cap > 0 ? backward_tile_of<T, true> : backward_tile_of<T, false>;
  tile(scores, dp, rows, columns, scale, cap, mask, lse, delta, p, ds, ds_pairs);
}
