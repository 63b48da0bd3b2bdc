// Element-wise reduction of one slice over the ranks' copies, in rank order, so that every engine gives the
// same bits.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/group.h"

namespace tessera {

/// Throws argument or unsupported unless `op` is defined for inputs of `in` and outputs of `out`: equal
/// dtypes, or bfloat16/float16 summed into float32; avg needs floating point; bool knows max and min only.
void check_reduction(ReduceOp op, c10::ScalarType in, c10::ScalarType out);

/// out[i] = ((in[0][i] op in[1][i]) op in[2][i]) ..., divided by in.size() at the end for avg. bfloat16 and
/// float16 accumulate in float32 and round once. `out` may be the same memory as one of the inputs. max and
/// min keep NaN.
void reduce_slices(ReduceOp op, c10::ScalarType in_dtype, c10::ScalarType out_dtype,
                   std::span<const std::byte* const> in, std::byte* out, int64_t elements);

}  // namespace tessera
