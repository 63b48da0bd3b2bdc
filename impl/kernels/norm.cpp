// RMSNorm forward and backward: argument checks and the composition of ATen operations.
#include "kernels/norm.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sum.h>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/geometry.h"

namespace tessera::kernels {
namespace {

void check(const at::Tensor& x, const at::Tensor& weight) {
  TESSERA_CHECK(x.dim() >= 2, argument, "rms_norm: x has ", x.dim(), " dimensions, at least 2 are needed");
  TESSERA_CHECK(weight.dim() == 1 && weight.size(0) == x.size(-1), argument, "rms_norm: weight has ",
                weight.numel(), " elements, rows of x have ", x.size(-1));
}

/// The rows of x as the loops want them: the last dimension dense, and at most two levels above it.
struct Rows {
  at::Tensor x;
  RowLayout layout;
  int64_t count;
  int64_t h;
};

Rows rows_of(const at::Tensor& t) {
  const int64_t h = t.size(-1), count = h == 0 ? 0 : t.numel() / h;
  if (t.stride(-1) == 1 && t.dim() == 2) return {t, {1, t.stride(0), 0}, count, h};
  if (t.stride(-1) == 1 && t.dim() == 3) return {t, {t.size(1), t.stride(0), t.stride(1)}, count, h};
  return {t.contiguous(), {1, h, 0}, count, h};
}

bool loops_apply(const at::Tensor& x, const at::Tensor& weight) {
  return have_loops({&x, &weight}) && weight.is_contiguous();
}

/// residual undefined: a plain norm.
AddRmsNormResult run(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, double eps,
                     NormGain gain) {
  const Rows rows = rows_of(x);
  const at::Tensor dense_residual = residual.defined() ? residual.contiguous() : residual;
  AddRmsNormResult r;
  if (residual.defined()) r.sum = at::empty(x.sizes(), x.options());
  r.y = at::empty(x.sizes(), x.options());
  r.rstd = at::empty({rows.count}, x.options().dtype(at::kFloat));
  const auto loop = pick(cpu_table().rms_norm, x);
  parallel(rows.count, 4 * rows.h * x.element_size(),
           [&, xp = in(rows.x), rp = in(dense_residual), wp = in(weight), sp = out(r.sum), yp = out(r.y),
            rstd = r.rstd.mutable_data_ptr<float>()](int64_t b, int64_t e) {
             loop(xp, rows.layout, rp, wp, sp, yp, rstd, rows.h, static_cast<float>(eps),
                  gain == NormGain::one_plus_weight, b, e);
           });
  return r;
}

RmsNormGrads run_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                          const at::Tensor& rstd, const at::Tensor& dresidual, NormGain gain) {
  const Rows rows = rows_of(x);
  const at::Tensor dense_dy = dy.contiguous();
  const at::Tensor dense_dres = dresidual.defined() ? dresidual.contiguous() : dresidual;
  RmsNormGrads g{at::empty(x.sizes(), x.options()), at::empty({rows.h}, weight.options().dtype(at::kFloat))};
  const int64_t parts = reduction_parts(rows.count);
  const at::Tensor partial = at::empty({parts, rows.h}, g.dweight.options());
  const auto loop = pick(cpu_table().rms_norm_backward, x);
  parallel_for(0, parts, 1,
               [&, dyp = in(dense_dy), xp = in(rows.x), wp = in(weight), rp = rstd.const_data_ptr<float>(),
                dresp = in(dense_dres), dxp = out(g.dx),
                dw = partial.mutable_data_ptr<float>()](int64_t b, int64_t e) {
                 for (int64_t part = b; part < e; ++part) {
                   loop(dyp, xp, rows.layout, wp, rp, dresp, dxp, dw + part * rows.h, rows.h,
                        gain == NormGain::one_plus_weight, rows.count * part / parts,
                        rows.count * (part + 1) / parts);
                 }
               });
  cpu_table().column_sum.f32(in(partial), rows.h, g.dweight.mutable_data_ptr<float>(), rows.h, 0, parts);
  return g;
}

const CudaTable* cuda_applies(std::initializer_list<const at::Tensor*> tensors, const at::Tensor& weight) {
  return weight.is_contiguous() ? cuda_loops(tensors) : nullptr;
}

AddRmsNormResult run_on(const CudaTable& table, const at::Tensor& x, const at::Tensor& residual,
                        const at::Tensor& weight, double eps, NormGain gain) {
  const CudaCall call(table, x);
  const Rows rows = rows_of(x);
  const at::Tensor dense_residual = residual.defined() ? residual.contiguous() : residual;
  AddRmsNormResult r;
  if (residual.defined()) r.sum = at::empty(x.sizes(), x.options());
  r.y = at::empty(x.sizes(), x.options());
  r.rstd = at::empty({rows.count}, x.options().dtype(at::kFloat));
  call.check(table.rms_norm(cuda_type(x), in(rows.x), rows.layout, in(dense_residual), in(weight), out(r.sum),
                            out(r.y), r.rstd.mutable_data_ptr<float>(), rows.count, rows.h,
                            static_cast<float>(eps), gain == NormGain::one_plus_weight, call.stream()),
             "rms_norm");
  return r;
}

RmsNormGrads run_backward_on(const CudaTable& table, const at::Tensor& dy, const at::Tensor& x,
                             const at::Tensor& weight, const at::Tensor& rstd, const at::Tensor& dresidual,
                             NormGain gain) {
  const CudaCall call(table, x);
  const Rows rows = rows_of(x);
  const at::Tensor dense_dy = dy.contiguous();
  const at::Tensor dense_dres = dresidual.defined() ? dresidual.contiguous() : dresidual;
  RmsNormGrads g{at::empty(x.sizes(), x.options()), at::empty({rows.h}, weight.options().dtype(at::kFloat))};
  const at::Tensor partial = at::empty({norm_partial_floats(rows.count, rows.h)}, g.dweight.options());
  call.check(table.rms_norm_backward(cuda_type(x), in(dense_dy), in(rows.x), rows.layout, in(weight),
                                     rstd.const_data_ptr<float>(), in(dense_dres), out(g.dx),
                                     g.dweight.mutable_data_ptr<float>(), partial.mutable_data_ptr<float>(),
                                     rows.count, rows.h, gain == NormGain::one_plus_weight, call.stream()),
             "rms_norm_backward");
  return g;
}

}  // namespace

RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, NormGain gain) {
  check(x, weight);
  if (const CudaTable* cuda = cuda_applies({&x, &weight}, weight)) {
    AddRmsNormResult r = run_on(*cuda, x, {}, weight, eps, gain);
    return {std::move(r.y), std::move(r.rstd)};
  }
  if (loops_apply(x, weight)) {
    AddRmsNormResult r = run(x, {}, weight, eps, gain);
    return {std::move(r.y), std::move(r.rstd)};
  }
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor rstd = at::rsqrt(at::add(at::mean(at::mul(x32, x32), {-1}, true), eps));
  const at::Tensor x_hat = at::mul(x32, rstd);
  const at::Tensor y = gain == NormGain::weight
                           ? at::mul(x_hat.to(x.scalar_type()), weight)
                           : at::mul(x_hat, at::add(weight.to(at::kFloat), 1)).to(x.scalar_type());
  return {y.contiguous(), rstd.reshape({-1})};
}

AddRmsNormResult add_rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                              double eps, NormGain gain) {
  check(x, weight);
  TESSERA_CHECK(x.sizes() == residual.sizes(), argument, "add_rms_norm: x is ", x.sizes(), ", residual ",
                residual.sizes());
  if (const CudaTable* cuda = cuda_applies({&x, &weight, &residual}, weight))
    return run_on(*cuda, x, residual, weight, eps, gain);
  if (loops_apply(x, weight) && have_loops({&x, &residual})) return run(x, residual, weight, eps, gain);
  at::Tensor sum = at::add(x, residual).contiguous();
  RmsNormResult normed = rms_norm(sum, weight, eps, gain);
  return {std::move(sum), std::move(normed.y), std::move(normed.rstd)};
}

RmsNormGrads rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& rstd, const at::Tensor& dresidual, NormGain gain) {
  check(x, weight);
  TESSERA_CHECK(dy.sizes() == x.sizes() && (!dresidual.defined() || dresidual.sizes() == x.sizes()), argument,
                "rms_norm_backward: dy is ", dy.sizes(), ", x ", x.sizes());
  const int64_t h = x.size(-1);
  TESSERA_CHECK(rstd.numel() * h == x.numel() && rstd.scalar_type() == at::kFloat && rstd.is_contiguous(),
                argument, "rms_norm_backward: rstd has ", rstd.numel(),
                " elements (float32, one per row of x expected)");
  if (const CudaTable* cuda = cuda_applies({&x, &weight, &dy, &dresidual}, weight);
      cuda && cuda_table({&x, &rstd})) {
    return run_backward_on(*cuda, dy, x, weight, rstd, dresidual, gain);
  }
  if (loops_apply(x, weight) && have_loops({&x, &dy, &dresidual}))
    return run_backward(dy, x, weight, rstd, dresidual, gain);
  const at::Tensor x_hat = at::mul(x.reshape({-1, h}).to(at::kFloat), rstd.reshape({-1, 1}));
  const at::Tensor dy32 = dy.reshape({-1, h}).to(at::kFloat);
  const at::Tensor w = weight.to(at::kFloat);
  const at::Tensor g = at::mul(dy32, gain == NormGain::weight ? w : at::add(w, 1));
  const at::Tensor dot = at::mean(at::mul(g, x_hat), {-1}, true);
  at::Tensor dx = at::mul(at::add(g, at::mul(x_hat, dot), -1), rstd.reshape({-1, 1}));
  if (dresidual.defined()) dx = at::add(dx, dresidual.reshape({-1, h}));
  return {dx.to(x.scalar_type()).reshape(x.sizes()), at::sum(at::mul(dy32, x_hat), {0})};
}

}  // namespace tessera::kernels
