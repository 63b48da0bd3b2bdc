// Flash attention on the CPU in tiles of brgemm, LibTorch's exported matrix micro-kernel.
#pragma once

#include "kernels/attention.h"

namespace tessera::kernels {

/// Whether this machine and dtype have the micro-kernel; without it attention is composed of ATen operations.
bool attention_tiles_available(at::ScalarType dtype);

/// The span loops of attention() and attention_backward(): all arguments checked, last dimensions dense, results zero (lse: -infinity) where no span writes. options.scale > 0, options.sinks are
/// float32 and contiguous.
void attention_tiles_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                             const AttentionResult& result);
void attention_tiles_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                              const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                              const AttentionGrads& grads);

}  // namespace tessera::kernels
