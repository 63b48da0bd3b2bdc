// SwiGLU forward and backward: argument checks and the composition of ATen operations.
#include "kernels/activation.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include "core/error.h"

namespace tessera::kernels {

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  TESSERA_CHECK(gate.sizes() == up.sizes(), argument, "swiglu: gate is ", gate.sizes(), ", up ", up.sizes());
  return at::mul(at::silu(gate.to(at::kFloat)), up).to(gate.scalar_type()).contiguous();
}

SwigluGrads swiglu_backward(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up, bool want_y) {
  const auto dense = at::MemoryFormat::Contiguous;
  SwigluGrads grads{at::empty_like(dy, dense), at::empty_like(dy, dense), {}};
  if (want_y) grads.y = at::empty_like(dy, dense);
  swiglu_backward_out(dy, gate, up, grads.dgate, grads.dup, grads.y);
  return grads;
}

void swiglu_backward_out(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                         const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y) {
  TESSERA_CHECK(gate.sizes() == up.sizes() && dy.sizes() == gate.sizes(), argument, "swiglu_backward: dy is ",
                dy.sizes(), ", gate ", gate.sizes(), ", up ", up.sizes());
  const at::Tensor g = gate.to(at::kFloat), u = up.to(at::kFloat), d = dy.to(at::kFloat);
  const at::Tensor sig = at::sigmoid(g);
  const at::Tensor silu = at::silu(g);  // as in swiglu(), so that y is the forward's to the last bit
  const at::Tensor slope = at::rsub(sig, 1).mul_(g).add_(1).mul_(sig);  // d silu / d gate
  const at::Tensor dup_value = at::mul(d, silu);
  if (y.defined()) y.copy_(at::mul(silu, u));
  dgate.copy_(at::mul(d, u).mul_(slope));
  dup.copy_(dup_value);
}

}  // namespace tessera::kernels
