// The documents as a batch [documents, heads, length, d], which cuDNN takes with any strides.
#include "kernels/cuda/attention_cudnn.h"

#include <ATen/Context.h>
#include <ATen/ops/_cudnn_attention_backward.h>
#include <ATen/ops/_cudnn_attention_forward.h>
#include <ATen/ops/empty.h>

#include <array>
#include <set>

#include "core/cuda_plugin.h"

namespace tessera::kernels {
namespace {

/// t [T, heads, d] as [documents, heads, length, d], without a copy.
at::Tensor batched(const at::Tensor& t, int64_t length) {
  return t.unflatten(0, {t.size(0) / length, length}).transpose(1, 2);
}
/// The inverse, dense.
at::Tensor laid_out(const at::Tensor& t) {
  return t.transpose(1, 2).contiguous().flatten(0, 1);
}

/// LibTorch keeps a plan for each shape and thread, and makes a new one in up to a second: documents that
/// come in ever new lengths are left to FlashAttention.
bool has_plan(const at::Tensor& q, int64_t length) {
  using Shape = std::array<int64_t, 4>;
  thread_local std::set<Shape> known;
  const Shape shape = {q.size(0), length, q.size(1), q.size(2)};
  if (known.size() < kMostCudnnShapes) known.insert(shape);
  return known.count(shape) != 0;
}

}  // namespace

bool cudnn_applies(const at::Tensor& q, int64_t length) {
  const int64_t d = q.size(2);
  if (length == 0 || length % 128 != 0 || (d != 64 && d != 128) || !q.is_cuda()) return false;
  if (at::globalContext().deterministicAlgorithms()) return false;  // its backward adds up as blocks come
  const int capability = cuda_capability(q.get_device());
  return (capability == 90 || capability / 10 == 10) && has_plan(q, length);
}

AttentionResult attention_cudnn(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t length,
                                double scale) {
  const auto result = at::_cudnn_attention_forward(
      batched(q, length), batched(k, length), batched(v, length), {}, {}, {}, length, length,
      /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false, scale);
  // [documents, heads, length] (, 1)
  const at::Tensor lse = std::get<1>(result).view({-1, q.size(1), length}).transpose(0, 1);
  return {laid_out(std::get<0>(result)), lse.contiguous().flatten(1, 2)};
}

AttentionGrads attention_cudnn_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                        int64_t length, double scale) {
  // [documents, heads, length, 1], as the forward gives it.
  const at::Tensor batched_lse = lse.unflatten(1, {-1, length}).transpose(0, 1).contiguous().unsqueeze(3);
  // Without dropout nothing is read from the state of its random numbers.
  const at::Tensor unused = at::empty({}, q.options().dtype(at::kLong));
  const auto [dq, dk, dv] = at::_cudnn_attention_backward(
      batched(dout, length), batched(q, length), batched(k, length), batched(v, length), batched(out, length),
      batched_lse, unused, unused, {}, {}, {}, length, length, /*dropout_p=*/0.0, /*is_causal=*/true, scale);
  return {laid_out(dq), laid_out(dk), laid_out(dv), {}};
}

}  // namespace tessera::kernels
