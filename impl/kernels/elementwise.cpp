// Passes over flat memory: the CPU loops where the dtypes have them, ATen otherwise.
#include "kernels/elementwise.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <atomic>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/caching_allocator.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/multi_tensor.h"

namespace tessera::kernels {
namespace {

void check_flat(const char* what, const at::Tensor& a, const at::Tensor& b) {
  TESSERA_CHECK(a.numel() == b.numel(), argument, what, ": ", a.numel(), " elements and ", b.numel());
  TESSERA_CHECK(a.is_contiguous() && b.is_contiguous(), argument, what, ": tensors must be contiguous");
}

/// The table when both are of a dtype that kernels read, which need not be the same.
const CudaTable* cuda_applies(const at::Tensor& a, const at::Tensor& b) {
  return cuda_dtype(a) && cuda_dtype(b) ? cuda_table({&a, &b}) : nullptr;
}

void copy_on(const CudaTable& table, const at::Tensor& dst, const at::Tensor& src, bool add) {
  const CudaCall call(table, dst);
  call.check(table.copy(cuda_type(dst), out(dst), cuda_type(src), in(src), dst.numel(), add, call.stream()),
             add ? "add_to" : "cast_copy");
}

/// Elements of one block of a sum: sums of blocks are joined in order.
constexpr int64_t kSumBlock = 1 << 16;

}  // namespace

void cast_copy(const at::Tensor& dst, const at::Tensor& src) {
  check_flat("cast_copy", dst, src);
  if (const CudaTable* cuda = cuda_applies(dst, src)) return copy_on(*cuda, dst, src, /*add=*/false);
  if (!has_loops(dst) || !has_loops(src) || dst.scalar_type() == src.scalar_type()) {
    dst.copy_(src.view(dst.sizes()));
    return;
  }
  const CpuTable& table = cpu_table();
  parallel(dst.numel(), 6,
           [&, d = out(dst), s = in(src), narrow = dst.scalar_type() == at::kBFloat16](int64_t b, int64_t e) {
             if (narrow) {
               table.cast_to_bf16(static_cast<const float*>(s), d, b, e);
             } else {
               table.cast_to_f32(s, static_cast<float*>(d), b, e);
             }
           });
}

void add_to(const at::Tensor& dst, const at::Tensor& src) {
  check_flat("add_to", dst, src);
  if (const CudaTable* cuda = cuda_applies(dst, src)) return copy_on(*cuda, dst, src, /*add=*/true);
  if (!has_loops(dst) || !has_loops(src)) {
    dst.add_(src.view(dst.sizes()));
    return;
  }
  const CpuTable& table = cpu_table();
  const bool same = dst.scalar_type() == src.scalar_type();
  const auto same_loop = pick(table.add, dst);
  parallel(dst.numel(), 8,
           [&, d = out(dst), s = in(src), narrow = dst.scalar_type() == at::kBFloat16](int64_t b, int64_t e) {
             if (same) {
               same_loop(d, s, d, b, e);
             } else if (narrow) {
               table.add_f32_to_bf16(d, static_cast<const float*>(s), b, e);
             } else {
               table.add_bf16_to_f32(static_cast<float*>(d), s, b, e);
             }
           });
}

at::Tensor add(const at::Tensor& a, const at::Tensor& b) {
  TESSERA_CHECK(a.sizes() == b.sizes(), argument, "add: ", a.sizes(), " and ", b.sizes());
  if (const CudaTable* cuda = cuda_loops({&a, &b}); cuda && a.is_contiguous() && b.is_contiguous()) {
    const CudaCall call(*cuda, a);
    at::Tensor result = at::empty(a.sizes(), a.options());
    call.check(cuda->add(cuda_type(a), in(a), in(b), out(result), a.numel(), call.stream()), "add");
    return result;
  }
  if (!have_loops({&a, &b}) || !a.is_contiguous() || !b.is_contiguous())
    return at::add(a, b).to(a.scalar_type());
  at::Tensor result = at::empty(a.sizes(), a.options());
  parallel(a.numel(), 3 * a.element_size(),
           [&, loop = pick(cpu_table().add, a), ap = in(a), bp = in(b), rp = out(result)](
               int64_t begin, int64_t end) { loop(ap, bp, rp, begin, end); });
  return result;
}

void scale(const at::Tensor& t, double factor) {
  if (const CudaTable* cuda = cuda_loops({&t}); cuda && t.is_contiguous()) {
    const CudaCall call(*cuda, t);
    call.check(cuda->scale(cuda_type(t), out(t), static_cast<float>(factor), t.numel(), call.stream()),
               "scale");
    return;
  }
  if (!has_loops(t) || !t.is_contiguous()) {
    t.mul_(factor);
    return;
  }
  parallel(t.numel(), 2 * t.element_size(),
           [loop = pick(cpu_table().scale, t), p = out(t), f = static_cast<float>(factor)](
               int64_t b, int64_t e) { loop(p, f, b, e); });
}

void zero(const at::Tensor& t) {
  if (!t.is_cpu() || !t.is_contiguous()) {
    t.zero_();
    return;
  }
  parallel(static_cast<int64_t>(t.nbytes()), 1,
           [p = static_cast<char*>(out(t))](int64_t b, int64_t e) { std::memset(p + b, 0, e - b); });
}

at::Tensor zeros(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const at::Tensor t = at::empty(sizes, options);
  if (!fresh_memory(t.storage().data_ptr())) zero(t);
  return t;
}

double sum_of_squares(const at::Tensor& t) {
  if (cuda_loops({&t}) && t.is_contiguous()) return sum_of_squares({{t, 1.0}}).item<double>();
  if (!has_loops(t) || !t.is_contiguous()) {
    const at::Tensor wide = t.to(at::kDouble);
    return at::sum(at::mul(wide, wide)).item<double>();
  }
  const int64_t n = t.numel(), blocks = at::divup(n, kSumBlock);
  std::vector<double> partial(static_cast<size_t>(blocks));
  parallel(blocks, kSumBlock * t.element_size(),
           [&, loop = pick(cpu_table().sum_of_squares, t), p = in(t)](int64_t b, int64_t e) {
             for (int64_t i = b; i < e; ++i) {
               partial[static_cast<size_t>(i)] = loop(p, i * kSumBlock, std::min(n, (i + 1) * kSumBlock));
             }
           });
  return std::accumulate(partial.begin(), partial.end(), 0.0);
}

bool all_finite(const at::Tensor& t) {
  if (const CudaTable* cuda = cuda_loops({&t}); cuda && t.is_contiguous()) {
    const CudaCall call(*cuda, t);
    const at::Tensor bad = at::zeros({1}, t.options().dtype(at::kInt));
    call.check(
        cuda->find_not_finite(cuda_type(t), in(t), t.numel(), bad.mutable_data_ptr<int32_t>(), call.stream()),
        "all_finite");
    return bad.item<int32_t>() == 0;
  }
  if (!has_loops(t) || !t.is_contiguous()) return at::isfinite(t).all().item<bool>();
  std::atomic<bool> finite{true};
  parallel(t.numel(), t.element_size(),
           [&, loop = pick(cpu_table().all_finite, t), p = in(t)](int64_t b, int64_t e) {
             if (!loop(p, b, e)) finite = false;
           });
  return finite;
}

}  // namespace tessera::kernels
