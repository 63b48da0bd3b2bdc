// Attention written out in LibTorch's operations, a block of queries at a time: for what its flash attention
// does not compute, on machines and dtypes that have no tiles (cpu/attention_tiles.h).
#pragma once

#include "kernels/attention.h"

namespace tessera::kernels {

/// One span of attention() and attention_backward(): all arguments checked, options.scale > 0. float64 stays
/// float64, all else is computed in float32.
void attention_composed_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const AttentionSpan& span, const AttentionOptions& options,
                                const AttentionResult& result);
void attention_composed_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                 const AttentionSpan& span, const AttentionOptions& options,
                                 const AttentionGrads& grads);

}  // namespace tessera::kernels
