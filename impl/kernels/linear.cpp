// The products of a linear layer through LibTorch's matrix multiplications. bfloat16 goes to oneDNN by
// itself. float32 would go to MKL, which takes a slow path on processors that are not Intel's (measured on
// Zen 5, one thread: MKL 120 GF/s, oneDNN 270), so there oneDNN is called by name. The global precision
// setting that also selects it is left alone: it belongs to the host process, and on machines with AMX it
// means bfloat16.
#include "kernels/linear.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/geometry.h"
#include "kernels/elementwise.h"

namespace at::native {
/// result = alpha mat1 mat2 + beta result by oneDNN. Exported by libtorch_cpu without a public header; weak,
/// so that a LibTorch without it still loads and float32 falls back to MKL.
__attribute__((weak)) void mkldnn_matmul(const Tensor& mat1, const Tensor& mat2, const Tensor& result,
                                         float beta, float alpha);
}  // namespace at::native

namespace tessera::kernels {
namespace {

bool slow_mkl() {
#if defined(__x86_64__)
  return at::native::mkldnn_matmul != nullptr && !__builtin_cpu_is("intel");
#else
  return false;
#endif
}

bool all_float32_cpu(const at::Tensor& a, const at::Tensor& b) {
  return a.device().is_cpu() && b.device().is_cpu() && a.scalar_type() == at::kFloat &&
         b.scalar_type() == at::kFloat;
}

/// Whether the product a b is oneDNN's: an empty one is not worth its special cases.
bool by_onednn(const at::Tensor& a, const at::Tensor& b) {
  static const bool preferred = slow_mkl();
  return preferred && all_float32_cpu(a, b) && a.numel() > 0 && b.numel() > 0;
}

/// out = a b, or out += a b, through whichever engine.
void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool accumulate) {
  at::Tensor target = out;
  if (by_onednn(a, b)) {
    at::native::mkldnn_matmul(a, b, target, accumulate ? 1 : 0, 1);
  } else if (accumulate) {
    at::addmm_out(target, target, a, b);
  } else {
    at::mm_out(target, a, b);
  }
}

/// f(a, b, out) for parts of a product whose results lie side by side in `out`, on the team's threads. The
/// longer side of the result is cut: an engine's own threads all wait for the slowest of them at the end of
/// each product, and reached 360 to 430 GFLOP/s each where 256 rows by themselves ran at 450 to 480.
template <class F>
void over_parts(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, const F& f) {
  constexpr int64_t kLeastWork = 1 << 20, kLeast = 64, kStep = 16;
  const int64_t rows = out.size(0), columns = out.size(1), longer = std::max(rows, columns);
  const int64_t threads = out.is_cpu() ? team_threads() : 1;
  if (threads == 1 || rows * columns * a.size(1) < kLeastWork || longer < 2 * kLeast) return f(a, b, out);
  const int64_t each = std::max(kLeast, at::divup(at::divup(longer, 2 * threads), kStep) * kStep);
  for_chunks(at::divup(longer, each), [&](int64_t part) {
    // What the caller's thread has set does not reach the others.
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const int64_t begin = part * each, size = std::min(each, longer - begin);
    if (rows >= columns) {
      f(a.narrow(0, begin, size), b, out.narrow(0, begin, size));
    } else {
      f(a, b.narrow(1, begin, size), out.narrow(1, begin, size));
    }
  });
}

void multiply_into(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool accumulate) {
  over_parts(a, b, out, [accumulate](const auto& left, const auto& right, const auto& part) {
    multiply(left, right, part, accumulate);
  });
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_cpu()) return at::mm(a, b);
  const at::Tensor result = at::empty({a.size(0), b.size(1)}, a.options());
  multiply_into(a, b, result, false);
  return result;
}

void check_grad_input(const at::Tensor& dy, const at::Tensor& weight) {
  TESSERA_CHECK(dy.dim() == 2 && weight.dim() == 2 && dy.size(1) == weight.size(0), argument,
                "linear_grad_input: dy ", dy.sizes(), " does not fit weight ", weight.sizes());
}

}  // namespace

int64_t preferred_rows(const at::Tensor& like, int64_t rows) {
  const bool onednn = like.is_cpu() && (like.scalar_type() == at::kBFloat16 ||
                                        (like.scalar_type() == at::kFloat && slow_mkl()));
  if (!onednn || rows <= 8) return rows;
  int64_t step = 8;
  while (step * 16 <= rows) step *= 2;
  return (rows + step - 1) / step * step;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  TESSERA_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1), argument, "linear: x ",
                x.sizes(), " does not fit weight ", weight.sizes());
  if (bias.defined()) {
    TESSERA_CHECK(bias.dim() == 1 && bias.size(0) == weight.size(0), argument, "linear: bias ", bias.sizes(),
                  " does not fit weight ", weight.sizes());
  }
  if (!x.is_cpu()) return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
  if (!bias.defined()) return product(x, weight.t());
  const at::Tensor y = at::empty({x.size(0), bias.size(0)}, x.options());
  over_parts(x, weight.t(), y, [&](const auto& left, const auto& right, const at::Tensor& part) {
    const int64_t first = part.storage_offset() % std::max<int64_t>(1, bias.size(0));
    part.copy_(bias.narrow(0, first, part.size(1)));
    multiply(left, right, part, true);
  });
  return y;
}

at::Tensor linear_grad_input(const at::Tensor& dy, const at::Tensor& weight) {
  check_grad_input(dy, weight);
  return product(dy, weight);
}

void linear_grad_input_out(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx) {
  check_grad_input(dy, weight);
  TESSERA_CHECK(dx.dim() == 2 && dx.size(0) == dy.size(0) && dx.size(1) == weight.size(1) &&
                    dx.scalar_type() == dy.scalar_type(),
                argument, "linear_grad_input: dx ", dx.sizes(), " does not fit dy ", dy.sizes(),
                " and weight ", weight.sizes());
  multiply_into(dy, weight, dx, false);
}

void linear_grad_weight(const at::Tensor& x, const at::Tensor& dy, const at::Tensor& target,
                        bool accumulate) {
  TESSERA_CHECK(x.dim() == 2 && dy.dim() == 2 && target.dim() == 2 && x.size(0) == dy.size(0) &&
                    target.size(0) == dy.size(1) && target.size(1) == x.size(1),
                argument, "linear_grad_weight: x ", x.sizes(), ", dy ", dy.sizes(), ", target ",
                target.sizes());
  at::Tensor out = target;
  const at::Tensor dyt = dy.t();
  if (x.is_cuda() && target.scalar_type() == at::kFloat && x.scalar_type() != at::kFloat) {
    // cuBLAS sums into a float32 target itself, so nothing is rounded to bfloat16 on the way.
    if (accumulate) {
      at::addmm_out(out, out, dyt, x, at::kFloat);
    } else {
      at::mm_out(out, dyt, x, at::kFloat);
    }
  } else if (target.scalar_type() == x.scalar_type()) {
    multiply_into(dyt, x, out, accumulate);
  } else {
    over_parts(dyt, x, out, [accumulate](const auto& left, const auto& right, const at::Tensor& part) {
      at::Tensor sum = part;
      const at::Tensor fresh = at::mm(left, right);
      if (!part.is_contiguous()) {
        accumulate ? sum.add_(fresh) : sum.copy_(fresh);
      } else {
        accumulate ? add_to(sum, fresh) : cast_copy(sum, fresh);
      }
    });
  }
}

at::Tensor linear_grad_bias(const at::Tensor& dy) {
  TESSERA_CHECK(dy.dim() == 2, argument, "linear_grad_bias: dy is ", dy.sizes());
  const bool dense = dy.stride(1) == 1 || dy.size(1) == 1;
  if (const CudaTable* cuda = cuda_loops({&dy}); cuda && dense) {
    const CudaCall call(*cuda, dy);
    const auto f32 = dy.options().dtype(at::kFloat);
    at::Tensor sum = at::empty({dy.size(1)}, f32);
    const at::Tensor scratch = at::empty({column_sum_floats(dy.size(0), dy.size(1))}, f32);
    call.check(cuda->column_sum(cuda_type(dy), in(dy), dy.stride(0), sum.mutable_data_ptr<float>(),
                                scratch.mutable_data_ptr<float>(), dy.size(0), dy.size(1), call.stream()),
               "linear_grad_bias");
    return sum;
  }
  if (!has_loops(dy) || !dense) return at::sum(dy, {0}, false, at::kFloat);
  const int64_t rows = dy.size(0), h = dy.size(1), parts = reduction_parts(rows);
  const at::Tensor partial = at::empty({parts, h}, dy.options().dtype(at::kFloat));
  at::Tensor sum = at::empty({h}, partial.options());
  parallel_for(0, parts, 1,
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
