// Four numbers of a seeded normal stream, in arithmetic that gives the same bits on every CPU and GPU:
// integers, and float32 sums, products, quotients and square roots that are rounded one by one. Compiled by
// CUDA as well; on CPUs without contraction of products and sums (-ffp-contract=off).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define TESSERA_BOTH __host__ __device__ __forceinline__
#else
#define TESSERA_BOTH inline
#endif

namespace tessera::kernels {

namespace exact {

// CUDA joins products and sums unless they are spelled like this.
#if defined(__CUDA_ARCH__)
TESSERA_BOTH float mul(float a, float b) {
  return __fmul_rn(a, b);
}
TESSERA_BOTH float add(float a, float b) {
  return __fadd_rn(a, b);
}
TESSERA_BOTH float div(float a, float b) {
  return __fdiv_rn(a, b);
}
TESSERA_BOTH float root(float a) {
  return __fsqrt_rn(a);
}
#else
TESSERA_BOTH float mul(float a, float b) {
  return a * b;
}
TESSERA_BOTH float add(float a, float b) {
  return a + b;
}
TESSERA_BOTH float div(float a, float b) {
  return a / b;
}
TESSERA_BOTH float root(float a) {
  return std::sqrt(a);
}
#endif

/// The nearest float32, by way of halves whose conversion is a single instruction everywhere.
TESSERA_BOTH float from_bits32(uint32_t x) {
  const auto high = static_cast<float>(static_cast<int32_t>(x >> 16));
  const auto low = static_cast<float>(static_cast<int32_t>(x & 0xffffu));
  return add(mul(high, 65536.0f), low);
}

/// Natural logarithm of u in [2^-32, 1], to 2 units in the last place: ln m by 2 artanh((m - 1) / (m + 1))
/// for u = m 2^e with m between the roots of 1/2 and 2.
TESSERA_BOTH float log_unit(float u) {
  constexpr float kLn2 = 0.693147181f, kRootOfHalf = 0.707106781f;
  uint32_t bits;
  std::memcpy(&bits, &u, sizeof bits);
  const uint32_t half_bits = (bits & 0x007fffffu) | 0x3f000000u;
  float half;  // u = half 2^exponent, half in [1/2, 1)
  std::memcpy(&half, &half_bits, sizeof half);
  const int32_t exponent = static_cast<int32_t>(bits >> 23) - 126;
  const bool small = half < kRootOfHalf;
  const float m = small ? add(half, half) : half;
  const auto e = static_cast<float>(small ? exponent - 1 : exponent);
  const float s = div(add(m, -1.0f), add(m, 1.0f));
  const float z = mul(s, s);
  float series = add(mul(z, 1.0f / 9), 1.0f / 7);
  series = add(mul(z, series), 1.0f / 5);
  series = add(mul(z, series), 1.0f / 3);
  const float twice = add(s, s);
  return add(mul(e, kLn2), add(twice, mul(mul(twice, z), series)));
}

/// Cosine and sine of a full turn's share v in [0, 1], to 1e-7: by Taylor's series within an eighth of a
/// turn.
TESSERA_BOTH void turn(float v, float& cosine, float& sine) {
  constexpr float kTwoPi = 6.28318531f;
  const auto quarter = static_cast<int32_t>(add(mul(v, 4.0f), 0.5f));  // the nearest, 0 to 4
  const float x = mul(add(v, mul(static_cast<float>(quarter), -0.25f)), kTwoPi);
  const float z = mul(x, x);
  float s = add(mul(z, 1.0f / 362880), -1.0f / 5040);
  s = add(mul(z, s), 1.0f / 120);
  s = add(mul(z, s), -1.0f / 6);
  s = add(x, mul(mul(x, z), s));
  float c = add(mul(z, -1.0f / 3628800), 1.0f / 40320);
  c = add(mul(z, c), -1.0f / 720);
  c = add(mul(z, c), 1.0f / 24);
  c = add(1.0f, mul(z, add(mul(z, c), -0.5f)));
  const bool swap = (quarter & 1) != 0;
  const float along = swap ? s : c, across = swap ? c : s;
  cosine = ((quarter + 1) & 2) != 0 ? -along : along;
  sine = (quarter & 2) != 0 ? -across : across;
}

/// Two normal values of standard deviation `std` from 64 random bits (Box and Muller 1958).
TESSERA_BOTH void normal_pair(uint32_t radius_bits, uint32_t angle_bits, float std, float& first,
                              float& second) {
  constexpr float kToUnit = 1.0f / 4294967296.0f;
  // (0, 1] keeps the logarithm finite; a share of a turn may be 0.
  const float u = mul(add(from_bits32(radius_bits), 1.0f), kToUnit);
  const float radius = mul(std, root(mul(-2.0f, log_unit(u))));
  float cosine, sine;
  turn(mul(from_bits32(angle_bits), kToUnit), cosine, sine);
  first = mul(radius, cosine);
  second = mul(radius, sine);
}

/// One round of Philox4x32 (Salmon et al. 2011).
TESSERA_BOTH void philox_round(uint32_t& x0, uint32_t& x1, uint32_t& x2, uint32_t& x3, uint32_t key0,
                               uint32_t key1) {
  const uint64_t a = uint64_t{0xD2511F53u} * x0, b = uint64_t{0xCD9E8D57u} * x2;
  x0 = static_cast<uint32_t>(b >> 32) ^ x1 ^ key0;
  x1 = static_cast<uint32_t>(b);
  x2 = static_cast<uint32_t>(a >> 32) ^ x3 ^ key1;
  x3 = static_cast<uint32_t>(a);
}
inline constexpr uint32_t kPhiloxKey0 = 0x9E3779B9u, kPhiloxKey1 = 0xBB67AE85u;  // added between rounds
inline constexpr int kPhiloxRounds = 10;

}  // namespace exact

inline constexpr int64_t kNormalBlock = 4;  // values of one Philox counter

/// Values kNormalBlock * counter .. of row `row` of the stream `key`: those of Philox4x32-10 with that
/// subsequence, made normal pair by pair.
TESSERA_BOTH void normal_block(uint64_t key, uint64_t row, uint64_t counter, float std,
                               float (&out)[kNormalBlock]) {
  auto x0 = static_cast<uint32_t>(counter), x1 = static_cast<uint32_t>(counter >> 32);
  auto x2 = static_cast<uint32_t>(row), x3 = static_cast<uint32_t>(row >> 32);
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < exact::kPhiloxRounds; ++round) {
    exact::philox_round(x0, x1, x2, x3, key0, key1);
    key0 += exact::kPhiloxKey0;
    key1 += exact::kPhiloxKey1;
  }
  exact::normal_pair(x0, x1, std, out[0], out[1]);
  exact::normal_pair(x2, x3, std, out[2], out[3]);
}

}  // namespace tessera::kernels
