// Attention through LibTorch's fused CUDA kernels: FlashAttention-2's varlen interface, or cuDNN's.
#pragma once

#include "kernels/attention.h"

namespace tessera::kernels {

enum class VarlenEngine {
  best,  ///< cuDNN where it is the faster one (attention_cudnn.h), otherwise FlashAttention
  flash,
  cudnn,  ///< unsupported but for documents of one length without windows
};

/// Whether the fused kernels compute it: bfloat16 or float16 on a CUDA device, heads of a multiple of 8 up to
/// 256 elements, no soft cap.
bool varlen_applies(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttentionOptions& options);

/// attention() and attention_backward(): all arguments checked, options.scale > 0.
AttentionResult attention_varlen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                                 VarlenEngine engine = VarlenEngine::best);
AttentionGrads attention_varlen_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                         const std::vector<AttentionSpan>& spans,
                                         const AttentionOptions& options,
                                         VarlenEngine engine = VarlenEngine::best);

}  // namespace tessera::kernels
