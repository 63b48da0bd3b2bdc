// Attention through LibTorch's fused CUDA kernels: FlashAttention-2's varlen interface, or cuDNN's.
#pragma once

#include "kernels/attention.h"

namespace tessera::kernels {

enum class VarlenEngine { flash, cudnn };

/// Whether the fused kernels compute it: bfloat16 or float16 on a CUDA device, heads of a multiple of 8 up to
/// 256 elements, no soft cap.
bool varlen_applies(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttentionOptions& options);

/// attention() and attention_backward(): all arguments checked, options.scale > 0. cuDNN takes no windows
/// (unsupported).
AttentionResult attention_varlen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                                 VarlenEngine engine = VarlenEngine::flash);
AttentionGrads attention_varlen_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                         const std::vector<AttentionSpan>& spans,
                                         const AttentionOptions& options,
                                         VarlenEngine engine = VarlenEngine::flash);

}  // namespace tessera::kernels
