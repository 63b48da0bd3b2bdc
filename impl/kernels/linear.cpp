// The products of a linear layer through LibTorch's matrix multiplication.
#include "kernels/linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>

#include "core/error.h"
#include "kernels/cpu/parallel.h"

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
  if (!has_loops(dy) || (dy.stride(1) != 1 && dy.size(1) != 1)) return at::sum(dy, {0}, false, at::kFloat);
  const int64_t rows = dy.size(0), h = dy.size(1), parts = reduction_parts(rows);
  const at::Tensor partial = at::empty({parts, h}, dy.options().dtype(at::kFloat));
  at::Tensor sum = at::empty({h}, partial.options());
  at::parallel_for(0, parts, 1,
                   [&, loop = pick(cpu_table().column_sum, dy), x = in(dy),
                    p = partial.mutable_data_ptr<float>()](int64_t b, int64_t e) {
                     for (int64_t part = b; part < e; ++part) {
                       loop(x, dy.stride(0), p + part * h, h, rows * part / parts, rows * (part + 1) / parts);
                     }
                   });
  cpu_table().column_sum.f32(in(partial), h, sum.mutable_data_ptr<float>(), h, 0, parts);
  return sum;
}

}  // namespace tessera::kernels
