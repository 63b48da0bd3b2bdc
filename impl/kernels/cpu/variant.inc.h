// One compilation of the CPU loops: everything lands in the namespace TESSERA_CPU_VARIANT. Uses no function
// of the standard library, because an inline function compiled here with wide vectors could be the copy that
// the linker keeps for the whole library.
#include <cstdint>

#include "kernels/cpu/table.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tessera::kernels::TESSERA_CPU_VARIANT {

extern const CpuTable table;

namespace {
#include "kernels/cpu/simd.inc.h"
// The loops build on the vectors above.
#include "kernels/cpu/activation.inc.h"
#include "kernels/cpu/attention.inc.h"
#include "kernels/cpu/cross_entropy.inc.h"
#include "kernels/cpu/elementwise.inc.h"
#include "kernels/cpu/norm.inc.h"
#include "kernels/cpu/optimizer.inc.h"

template <class T>
constexpr AttentionTiles attention_tiles = {
    .load_tile = load_tile<T>,
    .transpose32 = transpose32,
    .transpose_tile = transpose_tile<T>,
    .transpose_plain = transpose_plain<T>,
    .interleave_rows = interleave_rows,
    .soft_cap = soft_cap,
    .softmax = attention_softmax<T>,
    .finish = attention_finish,
    .store_tile = store_tile<T>,
    .row_dots = row_dots<T>,
    .backward_tile = attention_backward_tile<T>,
};
}  // namespace

const CpuTable table = {
    .name = TESSERA_STRINGIFY(TESSERA_CPU_VARIANT),
    .rms_norm = {rms_norm<float>, rms_norm<Bf16>},
    .rms_norm_backward = {rms_norm_backward<float>, rms_norm_backward<Bf16>},
    .rope = {rope<float>, rope<Bf16>},
    .rope_neighbours = {rope_neighbours<float>, rope_neighbours<Bf16>},
    .swiglu = {swiglu<float>, swiglu<Bf16>},
    .swiglu_backward = {swiglu_backward<float>, swiglu_backward<Bf16>},
    .geglu = {geglu<float>, geglu<Bf16>},
    .geglu_backward = {geglu_backward<float>, geglu_backward<Bf16>},
    .clamped_swiglu = {clamped_swiglu<float>, clamped_swiglu<Bf16>},
    .clamped_swiglu_backward = {clamped_swiglu_backward<float>, clamped_swiglu_backward<Bf16>},
    .soft_cap = {soft_cap_logits<float>, soft_cap_logits<Bf16>},
    .cross_entropy = {cross_entropy<float>, cross_entropy<Bf16>},
    .cross_entropy_stats = {cross_entropy_stats<float>, cross_entropy_stats<Bf16>},
    .cross_entropy_grad = {cross_entropy_grad<float>, cross_entropy_grad<Bf16>},
    .add = {add<float>, add<Bf16>},
    .scale = {scale<float>, scale<Bf16>},
    .sum_of_squares = {sum_of_squares<float>, sum_of_squares<Bf16>},
    .all_finite = {all_finite<float>, all_finite<Bf16>},
    .column_sum = {column_sum<float>, column_sum<Bf16>},
    .add_row = {add_row<float>, add_row<Bf16>},
    .attention = {attention_tiles<float>, attention_tiles<Bf16>},
    .cast_to_bf16 = cast_to_bf16,
    .cast_to_f32 = cast_to_f32,
    .add_bf16_to_f32 = add_bf16_to_f32,
    .add_f32_to_bf16 = add_f32_to_bf16,
    .adamw = {adamw<float>, adamw<Bf16>},
    .sgd = {sgd<float>, sgd<Bf16>},
};

}  // namespace tessera::kernels::TESSERA_CPU_VARIANT
