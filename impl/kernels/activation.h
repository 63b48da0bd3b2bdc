// The gated activation of Llama-style MLPs: SwiGLU (Shazeer, 2020), y = silu(gate) * up.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::kernels {

/// y [T, F] = silu(gate) * up in float32 arithmetic, rounded once to the dtype of gate. gate and up may be
/// the halves of a fused [T, 2F] projection (dense last dimension, any row stride).
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

struct SwigluGrads {
  at::Tensor dgate;  ///< [T, F] contiguous
  at::Tensor dup;    ///< [T, F] contiguous
  at::Tensor y;      ///< the forward's result again, when asked for: undefined otherwise
};

/// Gradients from gate and up alone (y need not be kept). `want_y` makes the same pass produce y, which the
/// weight gradient of the down projection needs when y was not saved.
SwigluGrads swiglu_backward(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                            bool want_y = false);

/// The same into given tensors of dy's shape and dtype; dense last dimension, any row stride. dgate and dup
/// may alias dy, gate or up. `y` may be undefined.
void swiglu_backward_out(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                         const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y);

}  // namespace tessera::kernels
