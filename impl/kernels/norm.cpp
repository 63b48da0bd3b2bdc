// RMSNorm forward and backward: argument checks and the composition of ATen operations.
#include "kernels/norm.h"

#include <ATen/ops/add.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sum.h>

#include "core/error.h"

namespace tessera::kernels {
namespace {

void check(const at::Tensor& x, const at::Tensor& weight) {
  TESSERA_CHECK(x.dim() >= 2, argument, "rms_norm: x has ", x.dim(), " dimensions, at least 2 are needed");
  TESSERA_CHECK(weight.dim() == 1 && weight.size(0) == x.size(-1), argument, "rms_norm: weight has ",
                weight.numel(), " elements, rows of x have ", x.size(-1));
}

}  // namespace

RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check(x, weight);
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor rstd = at::rsqrt(at::add(at::mean(at::mul(x32, x32), {-1}, true), eps));
  return {at::mul(at::mul(x32, rstd).to(x.scalar_type()), weight).contiguous(), rstd.reshape({-1})};
}

AddRmsNormResult add_rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                              double eps) {
  check(x, weight);
  TESSERA_CHECK(x.sizes() == residual.sizes(), argument, "add_rms_norm: x is ", x.sizes(), ", residual ",
                residual.sizes());
  at::Tensor sum = at::add(x, residual).contiguous();
  RmsNormResult normed = rms_norm(sum, weight, eps);
  return {std::move(sum), std::move(normed.y), std::move(normed.rstd)};
}

RmsNormGrads rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& rstd, const at::Tensor& dresidual) {
  check(x, weight);
  const int64_t h = x.size(-1);
  const at::Tensor x_hat = at::mul(x.reshape({-1, h}).to(at::kFloat), rstd.reshape({-1, 1}));
  const at::Tensor dy32 = dy.reshape({-1, h}).to(at::kFloat);
  const at::Tensor g = at::mul(dy32, weight.to(at::kFloat));
  const at::Tensor dot = at::mean(at::mul(g, x_hat), {-1}, true);
  at::Tensor dx = at::mul(at::add(g, at::mul(x_hat, dot), -1), rstd.reshape({-1, 1}));
  if (dresidual.defined()) dx = at::add(dx, dresidual.reshape({-1, h}));
  return {dx.to(x.scalar_type()).reshape(x.sizes()), at::sum(at::mul(dy32, x_hat), {0})};
}

}  // namespace tessera::kernels
