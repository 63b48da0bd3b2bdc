// Gated activations forward and backward: argument checks and the composition of ATen operations.
#include "kernels/activation.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"

namespace tessera::kernels {
namespace {

bool dense_rows(const at::Tensor& t) {
  return !t.defined() || (t.dim() == 2 && (t.stride(1) == 1 || t.size(1) == 1));
}

at::Tensor activate(Activation kind, const at::Tensor& x) {
  return kind == Activation::silu ? at::silu(x) : at::gelu(x, "tanh");
}

GatedActivation cuda_kind(Activation kind) {
  return kind == Activation::silu ? GatedActivation::silu : GatedActivation::gelu_tanh;
}

at::Tensor forward(Activation kind, const char* name, const at::Tensor& gate, const at::Tensor& up) {
  TESSERA_CHECK(gate.sizes() == up.sizes(), argument, name, ": gate is ", gate.sizes(), ", up ", up.sizes());
  if (const CudaTable* cuda = cuda_loops({&gate, &up}); cuda && dense_rows(gate) && dense_rows(up)) {
    const CudaCall call(*cuda, gate);
    at::Tensor y = at::empty(gate.sizes(), gate.options());
    call.check(cuda->gated(cuda_type(gate), cuda_kind(kind), in(gate), gate.stride(0), in(up), up.stride(0),
                           out(y), y.stride(0), gate.size(0), gate.size(1), call.stream()),
               name);
    return y;
  }
  if (have_loops({&gate, &up}) && dense_rows(gate) && dense_rows(up)) {
    at::Tensor y = at::empty(gate.sizes(), gate.options());
    const CpuTable& table = cpu_table();
    const auto loop = pick(kind == Activation::silu ? table.swiglu : table.geglu, gate);
    parallel(gate.size(0), 3 * gate.size(1) * gate.element_size(),
             [&, gp = in(gate), upp = in(up), yp = out(y)](int64_t b, int64_t e) {
               loop(gp, gate.stride(0), upp, up.stride(0), yp, gate.size(1), b, e);
             });
    return y;
  }
  return at::mul(activate(kind, gate.to(at::kFloat)), up).to(gate.scalar_type()).contiguous();
}

void backward_out(Activation kind, const char* name, const at::Tensor& dy, const at::Tensor& gate,
                  const at::Tensor& up, const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y) {
  TESSERA_CHECK(gate.sizes() == up.sizes() && dy.sizes() == gate.sizes(), argument, name, ": dy is ",
                dy.sizes(), ", gate ", gate.sizes(), ", up ", up.sizes());
  TESSERA_CHECK(
      dgate.sizes() == dy.sizes() && dup.sizes() == dy.sizes() && (!y.defined() || y.sizes() == dy.sizes()),
      argument, name, ": results are ", dgate.sizes(), " and ", dup.sizes(), ", dy ", dy.sizes());
  if (const CudaTable* cuda = cuda_loops({&dy, &gate, &up, &dgate, &dup, &y});
      cuda && dense_rows(dy) && dense_rows(gate) && dense_rows(up) && dense_rows(dgate) && dense_rows(dup) &&
      dense_rows(y)) {
    const CudaCall call(*cuda, dy);
    call.check(
        cuda->gated_backward(cuda_type(dy), cuda_kind(kind), in(dy), dy.stride(0), in(gate), gate.stride(0),
                             in(up), up.stride(0), out(dgate), dgate.stride(0), out(dup), dup.stride(0),
                             out(y), y.defined() ? y.stride(0) : 0, dy.size(0), dy.size(1), call.stream()),
        name);
    return;
  }
  if (have_loops({&dy, &gate, &up, &dgate, &dup, &y}) && dense_rows(dy) && dense_rows(gate) &&
      dense_rows(up) && dense_rows(dgate) && dense_rows(dup) && dense_rows(y)) {
    const CpuTable& table = cpu_table();
    const auto loop = pick(kind == Activation::silu ? table.swiglu_backward : table.geglu_backward, dy);
    const int64_t y_stride = y.defined() ? y.stride(0) : 0;
    parallel(dy.size(0), 5 * dy.size(1) * dy.element_size(),
             [&, dyp = in(dy), gp = in(gate), upp = in(up), dgp = out(dgate), dup_p = out(dup), yp = out(y)](
                 int64_t b, int64_t e) {
               loop(dyp, dy.stride(0), gp, gate.stride(0), upp, up.stride(0), dgp, dgate.stride(0), dup_p,
                    dup.stride(0), yp, y_stride, dy.size(1), b, e);
             });
    return;
  }
  const at::Tensor g = gate.to(at::kFloat), u = up.to(at::kFloat), d = dy.to(at::kFloat);
  const at::Tensor value = activate(kind, g);  // as in the forward, so that y is its result to the last bit
  at::Tensor dgate_value;
  if (kind == Activation::silu) {
    const at::Tensor sig = at::sigmoid(g);
    const at::Tensor slope = at::rsub(sig, 1).mul_(g).add_(1).mul_(sig);
    dgate_value = at::mul(d, u).mul_(slope);
  } else {
    dgate_value = at::gelu_backward(at::mul(d, u), g, "tanh");
  }
  const at::Tensor dup_value = at::mul(d, value);
  if (y.defined()) y.copy_(at::mul(value, u));
  dgate.copy_(dgate_value);
  dup.copy_(dup_value);
}

}  // namespace

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  return forward(Activation::silu, "swiglu", gate, up);
}

at::Tensor geglu(const at::Tensor& gate, const at::Tensor& up) {
  return forward(Activation::gelu_tanh, "geglu", gate, up);
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
  backward_out(Activation::silu, "swiglu_backward", dy, gate, up, dgate, dup, y);
}

void geglu_backward_out(const at::Tensor& dy, const at::Tensor& gate, const at::Tensor& up,
                        const at::Tensor& dgate, const at::Tensor& dup, const at::Tensor& y) {
  backward_out(Activation::gelu_tanh, "geglu_backward", dy, gate, up, dgate, dup, y);
}

}  // namespace tessera::kernels
