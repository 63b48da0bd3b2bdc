// The products of a linear layer through LibTorch's matrix multiplication.
#include "kernels/linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>

#include "core/error.h"

namespace tessera::kernels {

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  TESSERA_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1), argument, "linear: x ",
                x.sizes(), " does not fit weight ", weight.sizes());
  return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
}

at::Tensor linear_grad_input(const at::Tensor& dy, const at::Tensor& weight) {
  TESSERA_CHECK(dy.dim() == 2 && weight.dim() == 2 && dy.size(1) == weight.size(0), argument,
                "linear_grad_input: dy ", dy.sizes(), " does not fit weight ", weight.sizes());
  return at::mm(dy, weight);
}

void linear_grad_weight(const at::Tensor& x, const at::Tensor& dy, const at::Tensor& target,
                        bool accumulate) {
  TESSERA_CHECK(x.dim() == 2 && dy.dim() == 2 && target.dim() == 2 && x.size(0) == dy.size(0) &&
                    target.size(0) == dy.size(1) && target.size(1) == x.size(1),
                argument, "linear_grad_weight: x ", x.sizes(), ", dy ", dy.sizes(), ", target ",
                target.sizes());
  at::Tensor out = target;
  if (target.scalar_type() == x.scalar_type()) {
    if (accumulate) {
      at::addmm_out(out, out, dy.t(), x);
    } else {
      at::mm_out(out, dy.t(), x);
    }
  } else if (accumulate) {
    out.add_(at::mm(dy.t(), x));
  } else {
    out.copy_(at::mm(dy.t(), x));
  }
}

at::Tensor linear_grad_bias(const at::Tensor& dy) {
  TESSERA_CHECK(dy.dim() == 2, argument, "linear_grad_bias: dy is ", dy.sizes());
  return at::sum(dy, {0}, false, at::kFloat);
}

}  // namespace tessera::kernels
