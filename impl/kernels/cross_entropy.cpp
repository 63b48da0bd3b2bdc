// Cross-entropy of a chunk of logits, whole and vocabulary-parallel: checks and the composition of ATen
// operations.
#include "kernels/cross_entropy.h"

#include <ATen/ops/add.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"

namespace tessera::kernels {
namespace {

void check_shapes(const at::Tensor& logits, const at::Tensor& labels) {
  TESSERA_CHECK(logits.dim() == 2 && logits.size(1) > 0, argument, "cross_entropy: logits are ",
                logits.sizes(), ", expected [rows, vocabulary]");
  TESSERA_CHECK(labels.dim() == 1 && labels.size(0) == logits.size(0) && labels.scalar_type() == at::kLong,
                argument, "cross_entropy: ", labels.numel(), " labels for ", logits.size(0),
                " rows (int64 [rows] expected)");
}

bool loops_apply(const at::Tensor& logits) {
  return has_loops(logits) && (logits.stride(1) == 1 || logits.size(1) == 1);
}

/// The table when logits and labels are both where kernels read them.
const CudaTable* cuda_applies(const at::Tensor& logits, const at::Tensor& labels) {
  if (!cuda_dtype(logits) || (logits.stride(1) != 1 && logits.size(1) != 1) || !labels.is_contiguous())
    return nullptr;
  return cuda_table({&logits, &labels});
}

void cross_entropy_on(const CudaTable& table, const at::Tensor& logits, const at::Tensor& labels,
                      const double* grad_scale, double cap, const at::Tensor& loss_sum) {
  const CudaCall call(table, logits);
  const int64_t n = logits.size(0);
  const at::Tensor row_loss = at::empty({n}, logits.options().dtype(at::kDouble));
  auto* losses = row_loss.mutable_data_ptr<double>();
  call.check(table.cross_entropy(cuda_type(logits), out(logits), logits.stride(0),
                                 labels.const_data_ptr<int64_t>(), n, logits.size(1), kIgnoreIndex,
                                 grad_scale != nullptr, grad_scale ? static_cast<float>(*grad_scale) : 0,
                                 static_cast<float>(cap), losses, call.stream()),
             "cross_entropy");
  call.check(table.sum_doubles(losses, n, loss_sum.mutable_data_ptr<double>(), true, call.stream()),
             "cross_entropy");
}

double run(const at::Tensor& logits, const at::Tensor& labels, const double* grad_scale, double cap) {
  const int64_t n = logits.size(0), v = logits.size(1);
  std::vector<double> row_loss(static_cast<size_t>(n));
  const float scale = grad_scale ? static_cast<float>(*grad_scale) : 0;
  const auto loop = pick(cpu_table().cross_entropy, logits);
  parallel(n, 4 * v * logits.element_size(),
           [&, x = out(logits), label = labels.const_data_ptr<int64_t>()](int64_t b, int64_t e) {
             std::vector<float> scratch(grad_scale ? static_cast<size_t>(cross_entropy_scratch(v)) : 0);
             loop(x, logits.stride(0), label, v, kIgnoreIndex, grad_scale ? &scale : nullptr,
                  static_cast<float>(cap), row_loss.data(), scratch.data(), b, e);
           });
  return std::accumulate(row_loss.begin(), row_loss.end(), 0.0);
}

struct LocalLabels {
  at::Tensor index;   ///< [n, 1] column of the label in the slice, 0 where it is elsewhere
  at::Tensor inside;  ///< [n, 1] bool
};

LocalLabels local_labels(const at::Tensor& labels, int64_t vocab_begin, int64_t vocab_local) {
  const at::Tensor shifted = at::sub(labels, vocab_begin).unsqueeze(1);
  const at::Tensor inside =
      shifted.ge(0).logical_and_(shifted.lt(vocab_local)).logical_and_(labels.ge(0).unsqueeze(1));
  return {at::where(inside, shifted, at::Scalar(0)), inside};
}

}  // namespace

void soft_cap(const at::Tensor& logits, double cap) {
  TESSERA_CHECK(std::isfinite(cap) && cap >= 0, argument, "soft_cap: cap ", cap, " is not a number above 0");
  if (cap == 0 || logits.numel() == 0) return;
  if (const CudaTable* cuda = cuda_loops({&logits}); cuda && logits.is_contiguous()) {
    const CudaCall call(*cuda, logits);
    call.check(cuda->soft_cap(cuda_type(logits), out(logits), static_cast<float>(cap), logits.numel(),
                              call.stream()),
               "soft_cap");
    return;
  }
  if (has_loops(logits) && logits.is_contiguous()) {
    const auto loop = pick(cpu_table().soft_cap, logits);
    parallel(logits.numel(), 2 * logits.element_size(),
             [&, x = out(logits)](int64_t b, int64_t e) { loop(x, static_cast<float>(cap), b, e); });
    return;
  }
  logits.copy_(at::tanh(at::div(logits.to(at::kFloat), cap)).mul_(cap));
}

CrossEntropyStats cross_entropy_stats(const at::Tensor& logits, const at::Tensor& labels,
                                      int64_t vocab_begin) {
  if (logits.dim() == 2 && logits.size(1) == 0) {
    const auto f32 = logits.options().dtype(at::kFloat);
    const int64_t n = logits.size(0);
    return {at::full({n}, -std::numeric_limits<float>::infinity(), f32), at::zeros({n}, f32),
            at::zeros({n}, f32)};
  }
  check_shapes(logits, labels);
  if (const CudaTable* cuda = cuda_applies(logits, labels)) {
    const CudaCall call(*cuda, logits);
    const int64_t n = logits.size(0);
    const auto f32 = logits.options().dtype(at::kFloat);
    CrossEntropyStats s{at::empty({n}, f32), at::empty({n}, f32), at::empty({n}, f32)};
    call.check(cuda->cross_entropy_stats(cuda_type(logits), in(logits), logits.stride(0),
                                         labels.const_data_ptr<int64_t>(), n, logits.size(1), vocab_begin,
                                         s.max.mutable_data_ptr<float>(), s.sum.mutable_data_ptr<float>(),
                                         s.target.mutable_data_ptr<float>(), call.stream()),
               "cross_entropy_stats");
    return s;
  }
  if (loops_apply(logits)) {
    const int64_t n = logits.size(0), v = logits.size(1);
    const auto f32 = logits.options().dtype(at::kFloat);
    CrossEntropyStats s{at::empty({n}, f32), at::empty({n}, f32), at::empty({n}, f32)};
    const auto loop = pick(cpu_table().cross_entropy_stats, logits);
    parallel(n, 2 * v * logits.element_size(),
             [&, x = in(logits), label = labels.const_data_ptr<int64_t>(),
              max = s.max.mutable_data_ptr<float>(), sum = s.sum.mutable_data_ptr<float>(),
              target = s.target.mutable_data_ptr<float>()](int64_t b, int64_t e) {
               loop(x, logits.stride(0), label, v, vocab_begin, max, sum, target, b, e);
             });
    return s;
  }
  const at::Tensor x = logits.to(at::kFloat);
  const at::Tensor max = at::amax(x, {1}, true);
  const at::Tensor sum = at::sum(at::exp(at::sub(x, max)), {1});
  const LocalLabels local = local_labels(labels, vocab_begin, logits.size(1));
  const at::Tensor target = at::where(local.inside, at::gather(x, 1, local.index), at::Scalar(0));
  return {max.squeeze(1), sum, target.squeeze(1)};
}

void cross_entropy_grad(const at::Tensor& logits, const at::Tensor& labels, int64_t vocab_begin,
                        const at::Tensor& lse, double grad_scale, double cap) {
  if (logits.numel() == 0) return;
  check_shapes(logits, labels);
  TESSERA_CHECK(lse.dim() == 1 && lse.size(0) == logits.size(0) && lse.scalar_type() == at::kFloat, argument,
                "cross_entropy_grad: lse is ", lse.sizes(), ", float32 [", logits.size(0), "] expected");
  const at::Tensor dense_lse = lse.contiguous();
  if (const CudaTable* cuda = cuda_applies(logits, labels); cuda && cuda_table({&logits, &lse})) {
    const CudaCall call(*cuda, logits);
    call.check(
        cuda->cross_entropy_grad(cuda_type(logits), out(logits), logits.stride(0),
                                 labels.const_data_ptr<int64_t>(), logits.size(0), logits.size(1),
                                 vocab_begin, kIgnoreIndex, dense_lse.const_data_ptr<float>(),
                                 static_cast<float>(grad_scale), static_cast<float>(cap), call.stream()),
        "cross_entropy_grad");
    return;
  }
  if (loops_apply(logits)) {
    const auto loop = pick(cpu_table().cross_entropy_grad, logits);
    parallel(logits.size(0), 4 * logits.size(1) * logits.element_size(),
             [&, x = out(logits), label = labels.const_data_ptr<int64_t>(),
              l = dense_lse.const_data_ptr<float>()](int64_t b, int64_t e) {
               loop(x, logits.stride(0), label, logits.size(1), vocab_begin, kIgnoreIndex, l,
                    static_cast<float>(grad_scale), static_cast<float>(cap), b, e);
             });
    return;
  }
  at::Tensor grad = at::exp(at::sub(logits.to(at::kFloat), lse.unsqueeze(1)));
  const LocalLabels local = local_labels(labels, vocab_begin, logits.size(1));
  grad.scatter_add_(1, local.index, local.inside.to(at::kFloat).neg());
  grad.mul_(grad_scale);
  if (cap > 0) {
    const at::Tensor y = logits.to(at::kFloat);
    grad.mul_(at::mul(at::rsub(y, cap), at::add(y, cap))).div_(cap * cap);
  }
  grad.masked_fill_(labels.eq(kIgnoreIndex).unsqueeze(1), 0);
  logits.copy_(grad);
}

void add_cross_entropy(const at::Tensor& logits, const at::Tensor& labels, const double* grad_scale,
                       const at::Tensor& loss_sum, double cap) {
  check_shapes(logits, labels);
  TESSERA_CHECK(loss_sum.numel() == 1 && loss_sum.scalar_type() == at::kDouble, argument,
                "add_cross_entropy: the sum is ", loss_sum.scalar_type(), " ", loss_sum.sizes(),
                ", float64 [1] expected");
  if (const CudaTable* cuda = cuda_applies(logits, labels); cuda && cuda_table({&logits, &loss_sum}))
    return cross_entropy_on(*cuda, logits, labels, grad_scale, cap, loss_sum);
  loss_sum.add_(cross_entropy(logits, labels, grad_scale, cap));
}

LabelledRows labelled_rows(const at::Tensor& labels, int64_t count) {
  TESSERA_CHECK(
      labels.dim() == 1 && labels.scalar_type() == at::kLong && labels.is_contiguous() && count >= 0,
      argument, "labelled_rows: labels ", labels.sizes(), " must be contiguous int64 [T], count ", count,
      " not negative");
  if (const CudaTable* cuda = cuda_table({&labels})) {
    const CudaCall call(*cuda, labels);
    LabelledRows result{at::empty({count}, labels.options()), at::empty({count}, labels.options())};
    call.check(cuda->labelled_rows(labels.const_data_ptr<int64_t>(), labels.numel(), kIgnoreIndex, count,
                                   result.rows.mutable_data_ptr<int64_t>(),
                                   result.labels.mutable_data_ptr<int64_t>(), call.stream()),
               "labelled_rows");
    return result;
  }
  const at::Tensor rows = labels.ne(kIgnoreIndex).nonzero().squeeze(1);
  TESSERA_CHECK(rows.numel() == count, argument, "labelled_rows: ", rows.numel(), " rows have a label, not ",
                count);
  return {rows, labels.index_select(0, rows)};
}

double cross_entropy(const at::Tensor& logits, const at::Tensor& labels, const double* grad_scale,
                     double cap) {
  check_shapes(logits, labels);
  if (const CudaTable* cuda = cuda_applies(logits, labels)) {
    const at::Tensor sum = at::zeros({1}, logits.options().dtype(at::kDouble));
    cross_entropy_on(*cuda, logits, labels, grad_scale, cap, sum);
    return sum.item<double>();
  }
  const int64_t* label = labels.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < labels.numel() && labels.is_cpu(); ++i) {
    TESSERA_CHECK(label[i] == kIgnoreIndex || (label[i] >= 0 && label[i] < logits.size(1)), argument,
                  "cross_entropy: label ", label[i], " of row ", i, " is outside the vocabulary of ",
                  logits.size(1));
  }
  if (loops_apply(logits)) return run(logits, labels, grad_scale, cap);
  const CrossEntropyStats stats = cross_entropy_stats(logits, labels, 0);
  const at::Tensor lse = at::log(stats.sum).add_(stats.max);
  const at::Tensor loss = at::sub(lse, stats.target).masked_fill_(labels.eq(kIgnoreIndex), 0);
  if (grad_scale) cross_entropy_grad(logits, labels, 0, lse, *grad_scale, cap);
  return at::sum(loss, at::kDouble).item<double>();
}

}  // namespace tessera::kernels
