// The gated activations of MLPs (Shazeer, 2020): SwiGLU, y = silu(gate) * up; GEGLU with the tanh
// approximation of GELU (gelu_pytorch_tanh), y = gelu(gate) * up; and gpt-oss' clamped SwiGLU.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera {

/// What the gate of an MLP passes through.
enum class Activation : int {
  silu = 0,
  gelu_tanh = 1,  ///< gelu_pytorch_tanh
  /// gpt-oss (OpenAI, 2025): y = g sigmoid(1.702 g) (u + 1) with g = min(gate, 7) and u = up clamped to
  /// [-7, 7]. Beyond a bound the gradient is 0.
  clamped_silu = 2,
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
/// may alias dy, gate or up, and y dy. `y` may be undefined.
void swiglu_backward_out(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                         const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y);

/// The same for any activation.
at::Tensor gated(Activation activation, const at::Tensor& gate, const at::Tensor& up);
void gated_backward_out(Activation activation, const at::Tensor& dy, const at::Tensor& gate,
                        const at::Tensor& up, const at::Tensor& dgate, const at::Tensor& dup,
                        const at::Tensor& y);

/// The same for GEGLU.
at::Tensor geglu(const at::Tensor& gate, const at::Tensor& up);
void geglu_backward_out(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                        const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y);

}  // namespace kernels
}  // namespace tessera
