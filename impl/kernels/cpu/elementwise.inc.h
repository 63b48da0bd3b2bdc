// Loops over flat memory; see simd.inc.h for how this file is compiled.

template <class T>
void add(const void* a_, const void* b_, void* out_, int64_t begin, int64_t end) {
  const T* a = static_cast<const T*>(a_) + begin;
  const T* b = static_cast<const T*>(b_) + begin;
  T* out = static_cast<T*>(out_) + begin;
  for_vectors(end - begin, [&](auto io, int64_t i, int64_t n) {
    io.put(out + i, io.get(a + i, n) + io.get(b + i, n), n);
  });
}

template <class T>
void scale(void* x_, float factor, int64_t begin, int64_t end) {
  T* x = static_cast<T*>(x_) + begin;
  for_vectors(end - begin,
              [&](auto io, int64_t i, int64_t n) { io.put(x + i, io.get(x + i, n) * factor, n); });
}

/// Squares of floats are exact in double, so the only rounding is in the additions.
template <class T>
double sum_of_squares(const void* x_, int64_t begin, int64_t end) {
  typedef double Vd __attribute__((vector_size(TESSERA_VECTOR_BYTES)));
  typedef float Vfh __attribute__((vector_size(TESSERA_VECTOR_BYTES / 2)));
  constexpr int kHalf = kLanes / 2;
  const T* x = static_cast<const T*>(x_) + begin;
  Vd low{}, high{};
  for_vectors(end - begin, [&](auto io, int64_t i, int64_t n) {
    float lane[kLanes];
    store(lane, io.get(x + i, n));
    Vfh l, h;
    __builtin_memcpy(&l, lane, sizeof(l));
    __builtin_memcpy(&h, lane + kHalf, sizeof(h));
    const Vd dl = __builtin_convertvector(l, Vd), dh = __builtin_convertvector(h, Vd);
    low += dl * dl;
    high += dh * dh;
  });
  low += high;
  double total = 0;
  for (int i = 0; i < kHalf; ++i) total += low[i];
  return total;
}

/// NaN and infinity are the values whose exponent bits are all ones.
template <class T>
bool all_finite(const void* x_, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(x_) + begin;
  const int64_t step = 4096;
  for (int64_t b = 0; b < end - begin; b += step) {
    const int64_t count = end - begin - b < step ? end - begin - b : step;
    Vi bad{};
    for_vectors(count, [&](auto io, int64_t i, int64_t n) {
      bad |= ((Vi)io.get(x + b + i, n) & 0x7f800000) == 0x7f800000;
    });
    for (int i = 0; i < kLanes; ++i) {
      if (bad[i]) return false;
    }
  }
  return true;
}

template <class T>
void add_row(const void* row_, float* acc, int64_t h, bool first) {
  const T* row = static_cast<const T*>(row_);
  for_vectors(h, [&](auto io, int64_t i, int64_t n) {
    const Vf x = io.get(row + i, n);
    io.put(acc + i, first ? x : io.get(acc + i, n) + x, n);
  });
}

template <class T>
void column_sum(const void* x_, int64_t stride, float* out, int64_t h, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < h; ++i) out[i] = 0;
  for (int64_t row = begin; row < end; ++row)
    add_row<T>(static_cast<const T*>(x_) + row * stride, out, h, false);
}

void cast_to_bf16(const float* src, void* dst, int64_t begin, int64_t end) {
  Bf16* out = static_cast<Bf16*>(dst) + begin;
  src += begin;
  for_vectors(end - begin, [&](auto io, int64_t i, int64_t n) { io.put(out + i, io.get(src + i, n), n); });
}

void cast_to_f32(const void* src, float* dst, int64_t begin, int64_t end) {
  const Bf16* x = static_cast<const Bf16*>(src) + begin;
  dst += begin;
  for_vectors(end - begin, [&](auto io, int64_t i, int64_t n) { io.put(dst + i, io.get(x + i, n), n); });
}

template <class D, class S>
TESSERA_INLINE void add_into(D* dst, const S* src, int64_t count) {
  for_vectors(count, [&](auto io, int64_t i, int64_t n) {
    io.put(dst + i, io.get(dst + i, n) + io.get(src + i, n), n);
  });
}
void add_bf16_to_f32(float* dst, const void* src, int64_t begin, int64_t end) {
  add_into(dst + begin, static_cast<const Bf16*>(src) + begin, end - begin);
}
void add_f32_to_bf16(void* dst, const float* src, int64_t begin, int64_t end) {
  add_into(static_cast<Bf16*>(dst) + begin, src + begin, end - begin);
}
