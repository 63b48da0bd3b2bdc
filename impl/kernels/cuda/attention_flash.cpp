// The calls of plan_varlen through LibTorch's dispatcher, and their results put together.
#include "kernels/cuda/attention_flash.h"

#include <ATen/ops/_cudnn_attention_backward.h>
#include <ATen/ops/_cudnn_attention_forward.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cstring>
#include <limits>
#include <optional>

#include "core/error.h"
#include "kernels/cuda/varlen_plan.h"
#include "kernels/device_copy.h"

namespace tessera::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The boundaries of a call on the device; one copy from pinned memory, so that nobody waits.
struct Boundaries {
  at::Tensor q, k;
};

Boundaries boundaries_of(const VarlenCall& call, const at::Tensor& where) {
  const auto n = static_cast<int64_t>(call.cu_q.size());
  const auto bytes = static_cast<size_t>(n) * sizeof(int32_t);
  const at::Tensor host = at::empty({2, n}, at::TensorOptions(at::kInt).pinned_memory(where.is_cuda()));
  auto* to = host.mutable_data_ptr<int32_t>();
  std::memcpy(to, call.cu_q.data(), bytes);
  std::memcpy(to + n, call.cu_k.data(), bytes);
  const at::Tensor both = sent_to(where.device(), host);
  return {both.select(0, 0), both.select(0, 1)};
}

std::optional<int64_t> bound(int64_t window) {
  return window < 0 ? std::nullopt : std::optional<int64_t>(window);
}

/// The causal flag says "no bound to the left, none of the future"; other windows are given by their sides.
bool plain_causal(const VarlenCall& call) {
  return call.window_left < 0 && call.window_right == 0;
}

void check_engine(const VarlenCall& call, VarlenEngine engine) {
  if (engine == VarlenEngine::flash) return;
  TESSERA_CHECK(call.window_left < 0, unsupported, "attention: cudnn has no sliding windows in packed rows");
}

struct Sides {
  std::optional<int64_t> left, right;
};

Sides sides_of(const VarlenCall& call) {
  if (plain_causal(call)) return {};
  return {bound(call.window_left), bound(call.window_right)};
}

AttentionResult run(const VarlenCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    double scale, VarlenEngine engine) {
  check_engine(call, engine);
  const Boundaries at = boundaries_of(call, q);
  if (engine == VarlenEngine::cudnn) {
    const auto result =
        at::_cudnn_attention_forward(q, k, v, {}, at.q, at.k, call.max_q, call.max_k,
                                     /*compute_log_sumexp=*/true, 0.0, plain_causal(call), false, scale);
    return {std::get<0>(result), std::get<1>(result)};
  }
  const Sides sides = sides_of(call);
  const auto result = at::_flash_attention_forward(q, k, v, at.q, at.k, call.max_q, call.max_k, 0.0,
                                                   plain_causal(call), false, scale, sides.left, sides.right);
  return {std::get<0>(result), std::get<1>(result)};
}

AttentionGrads run_backward(const VarlenCall& call, const at::Tensor& dout, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                            const at::Tensor& lse, double scale, VarlenEngine engine) {
  check_engine(call, engine);
  const Boundaries at = boundaries_of(call, q);
  const at::Tensor unused = at::empty({0}, q.options());
  const at::Tensor no_dropout = at::zeros({2}, q.options().dtype(at::kUInt64));
  if (engine == VarlenEngine::cudnn) {
    auto [dq, dk, dv] =
        at::_cudnn_attention_backward(dout, q, k, v, out, lse, no_dropout, unused, {}, at.q, at.k, call.max_q,
                                      call.max_k, 0.0, plain_causal(call), scale);
    return {dq, dk, dv};
  }
  const Sides sides = sides_of(call);
  auto [dq, dk, dv] =
      at::_flash_attention_backward(dout, q, k, v, out, lse, at.q, at.k, call.max_q, call.max_k, 0.0,
                                    plain_causal(call), no_dropout, unused, scale, sides.left, sides.right);
  return {dq, dk, dv};
}

bool is_whole(const VarlenCall& call, const at::Tensor& q, const at::Tensor& k) {
  return call.q_len() == q.size(0) && call.k_len() == k.size(0);
}

}  // namespace

bool varlen_applies(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttentionOptions& options) {
  const auto dtype = q.scalar_type();
  return q.is_cuda() && q.device() == k.device() && q.device() == v.device() &&
         (dtype == at::kBFloat16 || dtype == at::kHalf) && k.scalar_type() == dtype &&
         v.scalar_type() == dtype && q.size(2) % 8 == 0 && q.size(2) <= 256 && options.soft_cap == 0;
}

AttentionResult attention_varlen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                                 VarlenEngine engine) {
  const std::vector<VarlenCall> calls = plan_varlen(spans, options.window);
  if (calls.size() == 1 && is_whole(calls[0], q, k) && !calls[0].has_gaps)
    return run(calls[0], q, k, v, options.scale, engine);
  AttentionResult result{at::zeros(q.sizes(), q.options()),
                         at::full({q.size(1), q.size(0)}, -kInfinity, q.options().dtype(at::kFloat))};
  for (const VarlenCall& call : calls) {
    const AttentionResult part =
        run(call, q.narrow(0, call.q_begin, call.q_len()), k.narrow(0, call.k_begin, call.k_len()),
            v.narrow(0, call.k_begin, call.k_len()), options.scale, engine);
    // FlashAttention gives queries without keys zeros and +infinity; the sums below leave them to other
    // calls.
    const at::Tensor lse = part.lse.masked_fill(part.lse.eq(kInfinity), -kInfinity);
    result.out.narrow(0, call.q_begin, call.q_len()).add_(part.out);
    const at::Tensor target = result.lse.narrow(1, call.q_begin, call.q_len());
    target.copy_(target.maximum(lse));
  }
  return result;
}

AttentionGrads attention_varlen_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                         const std::vector<AttentionSpan>& spans,
                                         const AttentionOptions& options, VarlenEngine engine) {
  const std::vector<VarlenCall> calls = plan_varlen(spans, options.window);
  const at::Tensor dense_dout = dout.contiguous();
  if (calls.size() == 1 && is_whole(calls[0], q, k) && !calls[0].has_gaps)
    return run_backward(calls[0], dense_dout, q, k, v, out, lse, options.scale, engine);
  const auto dense = at::MemoryFormat::Contiguous;
  AttentionGrads grads{at::zeros_like(q, {}, dense), at::zeros_like(k, {}, dense),
                       at::zeros_like(v, {}, dense)};
  // exp(score - infinity) is the probability 0 of queries that see nothing.
  const at::Tensor open_lse = lse.masked_fill(lse.eq(-kInfinity), kInfinity);
  for (const VarlenCall& call : calls) {
    const auto queries = [&](const at::Tensor& t) { return t.narrow(0, call.q_begin, call.q_len()); };
    const auto keys = [&](const at::Tensor& t) { return t.narrow(0, call.k_begin, call.k_len()); };
    const AttentionGrads part =
        run_backward(call, queries(dense_dout), queries(q), keys(k), keys(v), queries(out),
                     open_lse.narrow(1, call.q_begin, call.q_len()).contiguous(), options.scale, engine);
    queries(grads.dq).add_(part.dq);
    keys(grads.dk).add_(part.dk);
    keys(grads.dv).add_(part.dv);
  }
  return grads;
}

}  // namespace tessera::kernels
