// The gated activations of MLPs (Shazeer, 2020): SwiGLU, y = silu(gate) * up, and GEGLU with the tanh
// approximation of GELU (gelu_pytorch_tanh), y = gelu(gate) * up.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera {

/// What the gate of an MLP passes through.
enum class Activation : int {
  silu = 0,
  gelu_tanh = 1,  ///< gelu_pytorch_tanh
};

namespace kernels {

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

/// The same for GEGLU.
at::Tensor geglu(const at::Tensor& gate, const at::Tensor& up);
void geglu_backward_out(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                        const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y);

}  // namespace kernels
}  // namespace tessera
