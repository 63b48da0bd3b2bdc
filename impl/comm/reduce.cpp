// Reduction kernels: plain loops that the compiler vectorises, built for three instruction sets and chosen at
// run time.
#include "comm/reduce.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "comm/fingerprint.h"
#include "core/error.h"

namespace tessera {
namespace {

#define TESSERA_INLINE __attribute__((always_inline)) inline

/// How a stored element becomes an accumulator and back.
template <class T>
struct Plain {
  using Stored = T;
  using Accumulator = T;
  static TESSERA_INLINE T load(T value) { return value; }
  static TESSERA_INLINE T store(T value) { return value; }
};

struct Bf16 {
  using Stored = uint16_t;
  using Accumulator = float;
  static TESSERA_INLINE float load(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
  static TESSERA_INLINE uint16_t store(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    return static_cast<uint16_t>(value != value ? 0x7fc0U : rounded);
  }
};

struct Fp16 {
  using Stored = uint16_t;
  using Accumulator = float;
  static TESSERA_INLINE float load(uint16_t bits) { return c10::detail::fp16_ieee_to_fp32_value(bits); }
  static TESSERA_INLINE uint16_t store(float value) { return c10::detail::fp16_ieee_from_fp32_value(value); }
};

template <ReduceOp op, class T>
TESSERA_INLINE T combine(T a, T b) {
  if constexpr (op == ReduceOp::max) return (a > b || a != a) ? a : b;
  if constexpr (op == ReduceOp::min) return (a < b || a != a) ? a : b;
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;  // sums of integers wrap
    return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
  } else {
    return a + b;
  }
}

/// Blocks of accumulators stay in the first-level cache while the inputs stream through.
template <class In, class Out, ReduceOp op>
TESSERA_INLINE void reduce_body(std::span<const std::byte* const> in, std::byte* out, int64_t elements) {
  using Accumulator = typename In::Accumulator;
  constexpr int64_t kBlock = 1024;
  const auto count = static_cast<Accumulator>(in.size());
  for (int64_t begin = 0; begin < elements; begin += kBlock) {
    const int64_t n = std::min(kBlock, elements - begin);
    Accumulator sum[kBlock];
    const auto* first = reinterpret_cast<const typename In::Stored*>(in[0]) + begin;
    for (int64_t i = 0; i < n; ++i) sum[i] = In::load(first[i]);
    for (size_t r = 1; r < in.size(); ++r) {
      const auto* next = reinterpret_cast<const typename In::Stored*>(in[r]) + begin;
      for (int64_t i = 0; i < n; ++i) sum[i] = combine<op>(sum[i], In::load(next[i]));
    }
    auto* result = reinterpret_cast<typename Out::Stored*>(out) + begin;
    if constexpr (op == ReduceOp::avg) {
      for (int64_t i = 0; i < n; ++i) result[i] = Out::store(sum[i] / count);
    } else {
      for (int64_t i = 0; i < n; ++i) result[i] = Out::store(sum[i]);
    }
  }
}

using Kernel = void (*)(std::span<const std::byte* const>, std::byte*, int64_t);

template <class In, class Out, ReduceOp op>
void reduce_baseline(std::span<const std::byte* const> in, std::byte* out, int64_t elements) {
  reduce_body<In, Out, op>(in, out, elements);
}

#if defined(__x86_64__) && defined(__GNUC__)
// Explicit variants instead of target_clones: its resolvers run before the sanitizers are ready.
template <class In, class Out, ReduceOp op>
__attribute__((target("avx2"))) void reduce_avx2(std::span<const std::byte* const> in, std::byte* out,
                                                 int64_t elements) {
  reduce_body<In, Out, op>(in, out, elements);
}

template <class In, class Out, ReduceOp op>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512"))) void reduce_avx512(
    std::span<const std::byte* const> in, std::byte* out, int64_t elements) {
  reduce_body<In, Out, op>(in, out, elements);
}

template <class In, class Out, ReduceOp op>
Kernel pick() {
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return reduce_avx512<In, Out, op>;
  }
  return __builtin_cpu_supports("avx2") ? reduce_avx2<In, Out, op> : reduce_baseline<In, Out, op>;
}
#else
template <class In, class Out, ReduceOp op>
Kernel pick() {
  return reduce_baseline<In, Out, op>;
}
#endif

template <class In, class Out>
Kernel pick_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return pick<In, Out, ReduceOp::sum>();
    case ReduceOp::avg:
      if constexpr (!std::is_integral_v<typename In::Accumulator>) return pick<In, Out, ReduceOp::avg>();
      return nullptr;
    case ReduceOp::max:
      return pick<In, Out, ReduceOp::max>();
    case ReduceOp::min:
      return pick<In, Out, ReduceOp::min>();
  }
  return nullptr;
}

/// nullptr where the combination is not defined.
Kernel kernel_for(ReduceOp op, c10::ScalarType in, c10::ScalarType out) {
  using c10::ScalarType;
  if (in == ScalarType::BFloat16 && out == ScalarType::Float) return pick_op<Bf16, Plain<float>>(op);
  if (in == ScalarType::Half && out == ScalarType::Float) return pick_op<Fp16, Plain<float>>(op);
  if (in != out) return nullptr;
  switch (in) {
    case ScalarType::Float:
      return pick_op<Plain<float>, Plain<float>>(op);
    case ScalarType::Double:
      return pick_op<Plain<double>, Plain<double>>(op);
    case ScalarType::BFloat16:
      return pick_op<Bf16, Bf16>(op);
    case ScalarType::Half:
      return pick_op<Fp16, Fp16>(op);
    case ScalarType::Byte:
      return pick_op<Plain<uint8_t>, Plain<uint8_t>>(op);
    case ScalarType::Char:
      return pick_op<Plain<int8_t>, Plain<int8_t>>(op);
    case ScalarType::Short:
      return pick_op<Plain<int16_t>, Plain<int16_t>>(op);
    case ScalarType::Int:
      return pick_op<Plain<int32_t>, Plain<int32_t>>(op);
    case ScalarType::Long:
      return pick_op<Plain<int64_t>, Plain<int64_t>>(op);
    case ScalarType::Bool:
      return op == ReduceOp::max || op == ReduceOp::min ? pick_op<Plain<uint8_t>, Plain<uint8_t>>(op)
                                                        : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace

void check_reduction(ReduceOp op, c10::ScalarType in, c10::ScalarType out) {
  TESSERA_CHECK(op >= ReduceOp::sum && op <= ReduceOp::min, argument, "reduce op ", static_cast<int>(op),
                " is unknown");
  if (kernel_for(op, in, out) != nullptr) return;
  static constexpr const char* kNames[] = {"sum", "avg", "max", "min"};
  throw Error(Code::unsupported, cat("reduction ", kNames[static_cast<int>(op)], " of ", dtype_name(in),
                                     " into ", dtype_name(out), " is not supported"));
}

void reduce_slices(ReduceOp op, c10::ScalarType in_dtype, c10::ScalarType out_dtype,
                   std::span<const std::byte* const> in, std::byte* out, int64_t elements) {
  if (elements > 0) kernel_for(op, in_dtype, out_dtype)(in, out, elements);
}

}  // namespace tessera
