// The calls of plan_varlen through LibTorch's dispatcher, and their results put together.
#include "kernels/cuda/attention_flash.h"

#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "kernels/cuda/attention_cudnn.h"
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
  const at::Tensor host = host_memory_of(where.device(), {2, n}, at::kInt);
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

struct Sides {
  std::optional<int64_t> left, right;
};

Sides sides_of(const VarlenCall& call) {
  if (plain_causal(call)) return {};
  return {bound(call.window_left), bound(call.window_right)};
}

/// An upper bound that the grid follows from. FlashAttention has a path of its own for bounds of one query,
/// which wants exactly one of every sequence; sequences of gaps have none or more.
int64_t bound_of(int64_t longest) {
  return std::max<int64_t>(longest, 2);
}

/// What the kernels of both engines read in accesses of 16 bytes.
at::Tensor readable(const at::Tensor& t) {
  const int64_t step = 16 / t.element_size();
  const bool packs = t.stride(2) == 1 && t.stride(0) % step == 0 && t.stride(1) % step == 0 &&
                     reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0;
  return packs ? t : t.contiguous();
}

AttentionResult run(const VarlenCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    double scale) {
  const Boundaries at = boundaries_of(call, q);
  const Sides sides = sides_of(call);
  const auto result = at::_flash_attention_forward(readable(q), readable(k), readable(v), at.q, at.k,
                                                   bound_of(call.max_q), call.max_k, 0.0, plain_causal(call),
                                                   false, scale, sides.left, sides.right);
  return {std::get<0>(result).contiguous(), std::get<1>(result)};
}

AttentionGrads run_backward(const VarlenCall& call, const at::Tensor& dout, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                            const at::Tensor& lse, double scale) {
  const Boundaries at = boundaries_of(call, q);
  // Without dropout nothing is read from the state of its random numbers.
  const at::Tensor unused = at::empty({2}, q.options().dtype(at::kUInt64));
  const Sides sides = sides_of(call);
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      dout, readable(q), readable(k), readable(v), out, lse.contiguous(), at.q, at.k, bound_of(call.max_q),
      call.max_k, 0.0, plain_causal(call), unused, unused, scale, sides.left, sides.right);
  return {dq.contiguous(), dk.contiguous(), dv.contiguous(), {}};
}

bool is_whole(const VarlenCall& call, const at::Tensor& q, const at::Tensor& k) {
  return call.q_len() == q.size(0) && call.k_len() == k.size(0);
}

/// The one call that computes all rows, if one does: its kernels write zeros for the queries and keys of
/// gaps.
std::optional<VarlenCall> single_call(const std::vector<VarlenCall>& calls, const at::Tensor& q,
                                      const at::Tensor& k) {
  if (calls.size() != 1) return {};
  return covering(calls[0], q.size(0), k.size(0));
}

/// FlashAttention gives queries without keys +infinity; in place.
at::Tensor closed(const at::Tensor& lse) {
  return lse.masked_fill_(lse.eq(kInfinity), -kInfinity);
}
/// exp(score - infinity) is the probability 0 of queries that see nothing.
at::Tensor opened(const at::Tensor& lse) {
  return lse.masked_fill(lse.eq(-kInfinity), kInfinity);
}

/// Set when cuDNN had no plan for what it was asked; FlashAttention has always one.
std::atomic<bool> cudnn_refused{false};

/// The documents' length when cuDNN computes them, otherwise 0.
int64_t cudnn_length(const std::vector<VarlenCall>& calls, const at::Tensor& q, const at::Tensor& k,
                     VarlenEngine engine) {
  const bool whole = calls.size() == 1 && is_whole(calls[0], q, k);
  const int64_t length = whole ? common_length(calls[0]) : 0;
  if (engine == VarlenEngine::cudnn) {
    TESSERA_CHECK(length > 0, unsupported, "attention: cudnn takes whole documents of one length alone");
    return length;
  }
  const bool asked = engine == VarlenEngine::best && !cudnn_refused.load() && cudnn_applies(q, length);
  return asked ? length : 0;
}

/// compute() by cuDNN; nothing when it has no plan and need not be the one.
template <class Compute>
auto by_cudnn(VarlenEngine engine, const Compute& compute) -> std::optional<decltype(compute())> {
  try {
    return compute();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::AcceleratorError&) {
    throw;
  } catch (const c10::Error& error) {
    if (engine == VarlenEngine::cudnn) throw;
    cudnn_refused.store(true);
    const std::string text = error.what_without_backtrace();
    log_at(LogLevel::warning,
           cat("attention: cudnn: ", text.substr(0, text.find('\n')), "; FlashAttention takes its place"));
    return std::nullopt;
  }
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
  if (const int64_t length = cudnn_length(calls, q, k, engine); length > 0) {
    const auto result = by_cudnn(engine, [&] {
      return attention_cudnn(readable(q), readable(k), readable(v), length, options.scale);
    });
    if (result) return *result;
  }
  if (const auto call = single_call(calls, q, k)) {
    AttentionResult whole = run(*call, q, k, v, options.scale);
    if (call->has_gaps) whole.lse = closed(whole.lse);
    return whole;
  }
  AttentionResult result{at::zeros(q.sizes(), q.options()),
                         at::full({q.size(1), q.size(0)}, -kInfinity, q.options().dtype(at::kFloat))};
  for (const VarlenCall& call : calls) {
    const AttentionResult part =
        run(call, q.narrow(0, call.q_begin, call.q_len()), k.narrow(0, call.k_begin, call.k_len()),
            v.narrow(0, call.k_begin, call.k_len()), options.scale);
    // The sums below leave queries without keys, zeros and infinities, to other calls.
    const at::Tensor lse = closed(part.lse);
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
  if (const int64_t length = cudnn_length(calls, q, k, engine); length > 0) {
    const auto grads = by_cudnn(engine, [&] {
      return attention_cudnn_backward(dense_dout, readable(q), readable(k), readable(v), out.contiguous(),
                                      lse, length, options.scale);
    });
    if (grads) return *grads;
  }
  if (const auto call = single_call(calls, q, k)) {
    const at::Tensor given = call->has_gaps ? opened(lse) : lse;
    return run_backward(*call, dense_dout, q, k, v, out, given, options.scale);
  }
  const auto dense = at::MemoryFormat::Contiguous;
  AttentionGrads grads{at::zeros_like(q, {}, dense), at::zeros_like(k, {}, dense),
                       at::zeros_like(v, {}, dense)};
  const at::Tensor open_lse = opened(lse);
  for (const VarlenCall& call : calls) {
    const auto queries = [&](const at::Tensor& t) { return t.narrow(0, call.q_begin, call.q_len()); };
    const auto keys = [&](const at::Tensor& t) { return t.narrow(0, call.k_begin, call.k_len()); };
    const AttentionGrads part =
        run_backward(call, queries(dense_dout), queries(q), keys(k), keys(v), queries(out),
                     open_lse.narrow(1, call.q_begin, call.q_len()), options.scale);
    queries(grads.dq).add_(part.dq);
    keys(grads.dk).add_(part.dk);
    keys(grads.dv).add_(part.dv);
  }
  return grads;
}

}  // namespace tessera::kernels
