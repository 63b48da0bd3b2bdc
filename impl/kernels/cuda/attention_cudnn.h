// Attention of documents of one length by cuDNN, through LibTorch: twice as fast as FlashAttention 2 on GPUs
// whose tensor cores that does not know (9.0 and 10.x).
#pragma once

#include "kernels/attention.h"

namespace tessera::kernels {

/// Shapes for which a thread, a rank, has plans.
inline constexpr size_t kMostCudnnShapes = 8;

/// Whether cuDNN is asked for documents of this length (common_length): bfloat16 or float16 heads of 64 or
/// 128 elements, lengths of 128 and its multiples, of the first kMostCudnnShapes shapes that this thread
/// meets.
bool cudnn_applies(const at::Tensor& q, int64_t length);

/// attention() for documents of `length` that fill q, k and v. Its log-sum-exp is FlashAttention's, so that
/// either's backward goes with it. Throws c10::Error where cuDNN has no plan.
AttentionResult attention_cudnn(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t length,
                                double scale);
AttentionGrads attention_cudnn_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                        int64_t length, double scale);

}  // namespace tessera::kernels
