// Vectors of floats for the CPU loops, written with compiler vector types so that one source serves every
// instruction set. Included once by each variant file inside its namespace; no include guard on purpose.

constexpr int kLanes = TESSERA_VECTOR_BYTES / 4;

typedef float Vf __attribute__((vector_size(TESSERA_VECTOR_BYTES)));
typedef int32_t Vi __attribute__((vector_size(TESSERA_VECTOR_BYTES)));
typedef uint32_t Vu __attribute__((vector_size(TESSERA_VECTOR_BYTES)));
typedef uint16_t Vh __attribute__((vector_size(TESSERA_VECTOR_BYTES / 2)));
typedef float VfUnaligned __attribute__((vector_size(TESSERA_VECTOR_BYTES), aligned(4), may_alias));
typedef uint16_t VhUnaligned __attribute__((vector_size(TESSERA_VECTOR_BYTES / 2), aligned(2), may_alias));

/// A bfloat16 in memory.
struct __attribute__((may_alias)) Bf16 {
  uint16_t bits;
};

#define TESSERA_INLINE static inline __attribute__((always_inline))
#define TESSERA_STRINGIFY_(x) #x
#define TESSERA_STRINGIFY(x) TESSERA_STRINGIFY_(x)

TESSERA_INLINE Vf splat(float x) {
  return Vf{} + x;
}
TESSERA_INLINE Vf select(Vi mask, Vf a, Vf b) {
  return (Vf)((mask & (Vi)a) | (~mask & (Vi)b));
}

TESSERA_INLINE Vf load(const float* p) {
  return *reinterpret_cast<const VfUnaligned*>(p);
}
TESSERA_INLINE Vf load(const Bf16* p) {
#if defined(__AVX512F__)
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (Vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
#else
  const Vh h = *reinterpret_cast<const VhUnaligned*>(p);
  return (Vf)(__builtin_convertvector(h, Vu) << 16);
#endif
}

/// Rounds to nearest even, as the hardware and LibTorch do, on every instruction set alike (the AVX-512
/// instruction flushes denormals); NaNs stay quiet NaNs.
TESSERA_INLINE Vh to_bf16(Vf x) {
  const Vu u = (Vu)x;
  const Vu rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const Vu nan = (Vu)(x != x);
  return __builtin_convertvector((rounded & ~nan) | (nan & 0x7fc0u), Vh);
}
TESSERA_INLINE void store(float* p, Vf x) {
  *reinterpret_cast<VfUnaligned*>(p) = x;
}
TESSERA_INLINE void store(Bf16* p, Vf x) {
  *reinterpret_cast<VhUnaligned*>(p) = to_bf16(x);
}

TESSERA_INLINE float to_float(float x) {
  return x;
}
TESSERA_INLINE float to_float(Bf16 x) {
  const uint32_t u = static_cast<uint32_t>(x.bits) << 16;
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}

/// The first n < kLanes elements; the other lanes are zero.
template <class T>
TESSERA_INLINE Vf load_part(const T* p, int64_t n) {
  T buffer[kLanes] = {};
  __builtin_memcpy(buffer, p, static_cast<size_t>(n) * sizeof(T));
  return load(buffer);
}
template <class T>
TESSERA_INLINE void store_part(T* p, Vf x, int64_t n) {
  T buffer[kLanes];
  store(buffer, x);
  __builtin_memcpy(p, buffer, static_cast<size_t>(n) * sizeof(T));
}

/// Rounds through the storage type: what a store and a load would give.
TESSERA_INLINE Vf rounded_to(const float*, Vf x) {
  return x;
}
TESSERA_INLINE Vf rounded_to(const Bf16*, Vf x) {
  return (Vf)(__builtin_convertvector(to_bf16(x), Vu) << 16);
}

/// Lanes added in a fixed tree.
TESSERA_INLINE float reduce_add(Vf x) {
  float lane[kLanes];
  store(lane, x);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}
TESSERA_INLINE float reduce_max(Vf x) {
  float lane[kLanes];
  store(lane, x);
  float m = lane[0];
  for (int i = 1; i < kLanes; ++i) m = lane[i] > m ? lane[i] : m;
  return m;
}

constexpr float kInfinity = __builtin_inff();

/// Larger of two; a NaN in a gives b, a NaN in b stays.
TESSERA_INLINE Vf max(Vf a, Vf b) {
#if defined(__AVX512F__)
  return (Vf)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return select((Vi)(a > b), a, b);
#endif
}

TESSERA_INLINE Vf sqrt(Vf x) {
#if defined(__AVX512F__)
  return (Vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (Vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
  return (Vf)_mm_sqrt_ps((__m128)x);
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/// e^x to within 2 units in the last place; 0 below -103, infinity above 88.73, NaN for NaN. x = n ln2 + r
/// with |r| <= ln2/2, e^r = 1 + r + r^2 q(r), where q is the weighted minimax polynomial of degree 4
/// (relative error 3e-9).
TESSERA_INLINE Vf exp(Vf x) {
  const Vf low = splat(-104.0f), high = splat(89.0f);
  x = select((Vi)(x < low), low, x);
  x = select((Vi)(x > high), high, x);
  const Vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vf shifted = x * 1.44269504088896341f + magic;
  const Vf n = shifted - magic;
  const Vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln2 in two parts, the first exact in n * part
  Vf q = splat(0x1.6a2434p-10f);
  q = q * r + 0x1.1239e2p-7f;
  q = q * r + 0x1.5558f2p-5f;
  q = q * r + 0x1.555492p-3f;
  q = q * r + 0x1.fffffcp-2f;
  const Vf e = (q * r) * r + r + 1.0f;
#if defined(__AVX512F__)
  return (Vf)_mm512_scalef_ps((__m512)e, (__m512)n);
#else
  const Vi whole =
      (Vi)shifted - (Vi)magic;  // n as an integer, taken in two steps so that neither 2^k leaves the range
  const Vi half = whole >> 1;
  return e * (Vf)((half + 127) << 23) * (Vf)((whole - half + 127) << 23);
#endif
}

/// tanh(x) to within 2 units in the last place: x + x^3 q(x^2) below 0.625, where q is the weighted minimax
/// polynomial of degree 4 (relative error 5e-9), 1 - 2 / (e^2|x| + 1) above.
TESSERA_INLINE Vf tanh(Vf x) {
  const Vf z = x * x;
  Vf q = splat(-0x1.75e1b6p-8f);
  q = q * z + 0x1.522696p-6f;
  q = q * z - 0x1.b83c5ap-5f;
  q = q * z + 0x1.110726p-3f;
  q = q * z - 0x1.555532p-2f;
  const Vf near = x + x * (z * q);
  const Vi sign = (Vi)x & INT32_MIN;
  const Vf size = (Vf)((Vi)x ^ sign);
  const Vf far = (Vf)((Vi)(1.0f - 2.0f / (exp(size + size) + 1.0f)) | sign);
  return select((Vi)(size >= 0.625f), far, near);
}

/// for_vectors calls f(io, i, lanes) for the whole vectors of 0..n and once for the rest; io reads and writes
/// `lanes` elements, a whole vector or its first part.
struct Whole {
  template <class T>
  TESSERA_INLINE Vf get(const T* p, int64_t) {
    return load(p);
  }
  template <class T>
  TESSERA_INLINE void put(T* p, Vf x, int64_t) {
    store(p, x);
  }
};
struct Part {
  template <class T>
  TESSERA_INLINE Vf get(const T* p, int64_t n) {
    return load_part(p, n);
  }
  template <class T>
  TESSERA_INLINE void put(T* p, Vf x, int64_t n) {
    store_part(p, x, n);
  }
};
template <class F>
TESSERA_INLINE void for_vectors(int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(Whole{}, i, static_cast<int64_t>(kLanes));
  if (i < n) f(Part{}, i, n - i);
}
