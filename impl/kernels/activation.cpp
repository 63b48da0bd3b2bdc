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

constexpr double kLimit = 7, kAlpha = 1.702;  // of clamped_silu

/// In float32, in ATen's operations: y = value * factor.
struct Composed {
  at::Tensor value, factor;
};
Composed compose(Activation kind, const at::Tensor& gate, const at::Tensor& up) {
  if (kind == Activation::silu) return {at::silu(gate), up};
  if (kind == Activation::gelu_tanh) return {at::gelu(gate, "tanh"), up};
  const at::Tensor g = gate.clamp_max(kLimit);
  return {at::mul(g, at::sigmoid(at::mul(g, kAlpha))), up.clamp(-kLimit, kLimit).add_(1)};
}

/// dgate for the gradient of the value.
at::Tensor composed_slope(Activation kind, const at::Tensor& dvalue, const at::Tensor& gate) {
  if (kind == Activation::gelu_tanh) return at::gelu_backward(dvalue, gate, "tanh");
  const double alpha = kind == Activation::silu ? 1 : kAlpha;
  const at::Tensor sig = at::sigmoid(at::mul(gate, alpha));
  const at::Tensor slope = at::rsub(sig, 1).mul_(gate).mul_(alpha).add_(1).mul_(sig);
  const at::Tensor dgate = at::mul(dvalue, slope);
  return kind == Activation::silu ? dgate : dgate.masked_fill_(gate.gt(kLimit), 0);
}

GatedActivation cuda_kind(Activation kind) {
  switch (kind) {
    case Activation::silu:
      return GatedActivation::silu;
    case Activation::gelu_tanh:
      return GatedActivation::gelu_tanh;
    case Activation::clamped_silu:
      break;
  }
  return GatedActivation::clamped_silu;
}

const ByDtype<CpuTable::Swiglu>& forward_loop(Activation kind) {
  const CpuTable& table = cpu_table();
  if (kind == Activation::silu) return table.swiglu;
  return kind == Activation::gelu_tanh ? table.geglu : table.clamped_swiglu;
}

const ByDtype<CpuTable::SwigluBackward>& backward_loop(Activation kind) {
  const CpuTable& table = cpu_table();
  if (kind == Activation::silu) return table.swiglu_backward;
  return kind == Activation::gelu_tanh ? table.geglu_backward : table.clamped_swiglu_backward;
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
    const auto loop = pick(forward_loop(kind), gate);
    parallel(gate.size(0), 3 * gate.size(1) * gate.element_size(),
             [&, gp = in(gate), upp = in(up), yp = out(y)](int64_t b, int64_t e) {
               loop(gp, gate.stride(0), upp, up.stride(0), yp, gate.size(1), b, e);
             });
    return y;
  }
  const Composed composed = compose(kind, gate.to(at::kFloat), up.to(at::kFloat));
  return at::mul(composed.value, composed.factor).to(gate.scalar_type()).contiguous();
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
    const auto loop = pick(backward_loop(kind), dy);
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
  const auto [value, factor] = compose(kind, g, u);  // as in the forward: y is its result to the last bit
  const at::Tensor dgate_value = composed_slope(kind, at::mul(d, factor), g);
  const at::Tensor dup_value = at::mul(d, value);
  if (kind == Activation::clamped_silu) dup_value.masked_fill_(u.abs().gt(kLimit), 0);
  if (y.defined()) y.copy_(at::mul(value, factor));
  dgate.copy_(dgate_value);
  dup.copy_(dup_value);
}

const char* name_of(Activation kind) {
  if (kind == Activation::silu) return "swiglu";
  return kind == Activation::gelu_tanh ? "geglu" : "clamped_swiglu";
}

}  // namespace

at::Tensor gated(Activation activation, const at::Tensor& gate, const at::Tensor& up) {
  return forward(activation, name_of(activation), gate, up);
}

void gated_backward_out(Activation activation, const at::Tensor& dy, const at::Tensor& gate,
                        const at::Tensor& up, const at::Tensor& dgate, const at::Tensor& dup,
                        const at::Tensor& y) {
  backward_out(activation, name_of(activation), dy, gate, up, dgate, dup, y);
}

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
