// Varlen attention: spans of documents, the choice of the engine, and LibTorch's CPU flash attention span by
// span.
#include "kernels/attention.h"

#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <optional>

#include "core/error.h"
#include "kernels/attention_composed.h"
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cuda/attention_flash.h"
#include "kernels/elementwise.h"

namespace tessera::kernels {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           const std::vector<AttentionSpan>& spans) {
  TESSERA_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && q.size(2) == k.size(2) &&
                    k.size(0) == v.size(0) && k.size(1) == v.size(1),
                argument, "attention: q ", q.sizes(), ", k ", k.sizes(), ", v ", v.sizes());
  TESSERA_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0, argument, "attention: ", q.size(1),
                " query heads are not a multiple of ", k.size(1), " key heads");
  for (const AttentionSpan& s : spans) {
    TESSERA_CHECK(s.q_begin >= 0 && s.q_len >= 0 && s.q_begin <= q.size(0) - s.q_len && s.k_begin >= 0 &&
                      s.k_len >= 0 && s.k_begin <= k.size(0) - s.k_len,
                  argument, "attention: span of queries ", s.q_begin, "+", s.q_len, " and keys ", s.k_begin,
                  "+", s.k_len, " does not fit ", q.size(0), " queries and ", k.size(0), " keys");
  }
}

/// `options` checked, with the scale that 0 stands for and sinks in float32.
AttentionOptions checked(AttentionOptions options, const at::Tensor& q) {
  TESSERA_CHECK(std::isfinite(options.scale) && options.scale >= 0, argument, "attention: scale ",
                options.scale, " is negative or not finite");
  TESSERA_CHECK(options.window >= 0, argument, "attention: window ", options.window, " is negative");
  TESSERA_CHECK(std::isfinite(options.soft_cap) && options.soft_cap >= 0, argument, "attention: soft_cap ",
                options.soft_cap, " is negative or not finite");
  if (options.scale == 0) options.scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
  if (options.sinks.defined()) {
    TESSERA_CHECK(options.sinks.dim() == 1 && options.sinks.size(0) == q.size(1), argument,
                  "attention: sinks are ", options.sinks.sizes(), ", [", q.size(1), "] expected");
    options.sinks = options.sinks.to(at::kFloat).contiguous();
  }
  return options;
}

/// LibTorch's flash attention for the CPU cannot do it.
bool needs_composition(const AttentionOptions& options, const at::Tensor& q, const at::Tensor& v) {
  return options.soft_cap > 0 || q.size(2) != v.size(2) || !q.device().is_cpu();
}

bool fused_applies(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const AttentionOptions& options) {
  return q.size(2) == v.size(2) && varlen_applies(q, k, v, options);
}

/// [T, heads, d] -> [1, heads, n, d] of a span.
at::Tensor head_major(const at::Tensor& t, int64_t begin, int64_t len) {
  return t.narrow(0, begin, len).transpose(0, 1).unsqueeze(0);
}

/// The tiles want the elements of a head side by side, and all tensors of one dtype.
bool tiles_apply(std::initializer_list<const at::Tensor*> tensors) {
  const at::Tensor& first = **tensors.begin();
  for (const at::Tensor* t : tensors) {
    const bool dense = t->stride(2) == 1 || t->size(2) == 1;
    if (!dense || !t->device().is_cpu() || t->scalar_type() != first.scalar_type()) return false;
  }
  return attention_tiles_available(first.scalar_type());
}

struct SpanMask {
  bool causal = false;             ///< LibTorch's own causal mask says it all
  std::optional<at::Tensor> mask;  ///< additive [q_len, k_len] in the dtype of q
  at::Tensor blind;                ///< rows that see no key, bool [q_len]; undefined when there are none
};

SpanMask make_mask(const AttentionSpan& s, int64_t window, const at::Tensor& q) {
  if (s.diagonal == 0 && s.q_len == s.k_len && (window == 0 || window >= s.q_len)) return {true, {}, {}};
  const at::Tensor row = at::arange(s.q_len, at::kLong).add_(s.diagonal).unsqueeze(1);
  const at::Tensor column = at::arange(s.k_len, at::kLong).unsqueeze(0);
  at::Tensor hidden = column.gt(row);
  if (window > 0) hidden.logical_or_(column.le(row.sub(window)));
  SpanMask m;
  m.blind = hidden.all(1);
  if (!m.blind.any().item<bool>()) m.blind = at::Tensor();
  if (m.blind.defined()) hidden.masked_fill_(m.blind.unsqueeze(1), false);  // computed, then replaced
  m.mask = at::zeros({s.q_len, s.k_len}, q.options()).masked_fill_(hidden, kMinusInfinity);
  return m;
}

}  // namespace

std::vector<AttentionSpan> document_spans(const at::Tensor& cu_seqlens, const at::Tensor& cu_seqlens_padded,
                                          int64_t tokens) {
  TESSERA_CHECK(cu_seqlens.dim() == 1 && cu_seqlens.sizes() == cu_seqlens_padded.sizes() &&
                    cu_seqlens.numel() > 0 && cu_seqlens.scalar_type() == at::kInt &&
                    cu_seqlens_padded.scalar_type() == at::kInt,
                argument, "document_spans: cu_seqlens ", cu_seqlens.sizes(), " and cu_seqlens_padded ",
                cu_seqlens_padded.sizes(), " must be int32 [documents + 1] alike");
  const at::Tensor real = cu_seqlens.cpu().contiguous(), padded = cu_seqlens_padded.cpu().contiguous();
  const int32_t* r = real.const_data_ptr<int32_t>();
  const int32_t* p = padded.const_data_ptr<int32_t>();
  std::vector<AttentionSpan> spans;
  spans.reserve(static_cast<size_t>(real.numel() - 1));
  for (int64_t i = 0; i + 1 < real.numel(); ++i) {
    const int64_t len = static_cast<int64_t>(r[i + 1]) - r[i];
    const int64_t room = static_cast<int64_t>(p[i + 1]) - p[i];
    TESSERA_CHECK(len >= 0 && room >= len && p[i] >= 0 && p[i + 1] <= tokens, argument,
                  "document_spans: document ", i, " has ", len, " tokens in ", room, " places from ", p[i],
                  ", of ", tokens, " tokens in all");
    if (len > 0) spans.push_back({p[i], len, p[i], len, 0});
  }
  return spans;
}

AttentionResult attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const std::vector<AttentionSpan>& spans, const AttentionOptions& given) {
  check(q, k, v, spans);
  const AttentionOptions options = checked(given, q);
  if (fused_applies(q, k, v, options)) {
    const AttentionResult fused = attention_varlen(q, k, v, spans, options);
    if (options.sinks.defined()) attention_add_sinks(fused, options.sinks);
    return fused;
  }
  AttentionResult result{zeros({q.size(0), q.size(1), v.size(2)}, q.options()),
                         at::full({q.size(1), q.size(0)}, kMinusInfinity, q.options().dtype(at::kFloat))};
  if (tiles_apply({&q, &k, &v})) {
    attention_tiles_forward(q, k, v, spans, options, result);
    return result;
  }
  for (const AttentionSpan& s : spans) {
    if (s.q_len == 0 || s.k_len == 0) continue;
    if (needs_composition(options, q, v)) {
      attention_composed_forward(q, k, v, s, options, result);
      continue;
    }
    const SpanMask m = make_mask(s, options.window, q);
    auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        head_major(q, s.q_begin, s.q_len), head_major(k, s.k_begin, s.k_len),
        head_major(v, s.k_begin, s.k_len), 0.0, m.causal, m.mask, options.scale);
    if (m.blind.defined()) {
      out.masked_fill_(m.blind.unsqueeze(1), 0);
      lse.masked_fill_(m.blind, kMinusInfinity);
    }
    head_major(result.out, s.q_begin, s.q_len).copy_(out);
    result.lse.narrow(1, s.q_begin, s.q_len).copy_(lse.squeeze(0));
  }
  if (options.sinks.defined()) attention_add_sinks(result, options.sinks);
  return result;
}

AttentionGrads attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                  const std::vector<AttentionSpan>& spans, const AttentionOptions& given) {
  check(q, k, v, spans);
  const AttentionOptions options = checked(given, q);
  TESSERA_CHECK(dout.dim() == 3 && dout.size(0) == q.size(0) && dout.size(1) == q.size(1) &&
                    dout.size(2) == v.size(2) && out.sizes() == dout.sizes(),
                argument, "attention_backward: dout ", dout.sizes(), ", out ", out.sizes(), ", q ", q.sizes(),
                ", v ", v.sizes());
  TESSERA_CHECK(lse.dim() == 2 && lse.size(0) == q.size(1) && lse.size(1) == q.size(0) &&
                    lse.scalar_type() == at::kFloat,
                argument, "attention_backward: lse is ", lse.sizes(), ", float32 [", q.size(1), ", ",
                q.size(0), "] expected");
  if (fused_applies(q, k, v, options)) {
    AttentionGrads fused = attention_varlen_backward(dout, q, k, v, out, lse, spans, options);
    if (options.sinks.defined()) fused.dsinks = attention_sink_grad(dout, out, lse, options.sinks);
    return fused;
  }
  AttentionGrads grads{
      zeros(q.sizes(), q.options()), zeros(k.sizes(), k.options()), zeros(v.sizes(), v.options()), {}};
  // The sink's share of the softmax has no value, so the other gradients know it by out and lse alone.
  if (options.sinks.defined()) grads.dsinks = attention_sink_grad(dout, out, lse, options.sinks);
  if (tiles_apply({&q, &k, &v, &dout, &out}) && lse.is_contiguous()) {
    attention_tiles_backward(dout, q, k, v, out, lse, spans, options, grads);
    return grads;
  }
  for (const AttentionSpan& s : spans) {
    if (s.q_len == 0 || s.k_len == 0) continue;
    if (needs_composition(options, q, v)) {
      attention_composed_backward(dout, q, k, v, out, lse, s, options, grads);
      continue;
    }
    const SpanMask m = make_mask(s, options.window, q);
    at::Tensor g = head_major(dout, s.q_begin, s.q_len);
    at::Tensor l = lse.narrow(1, s.q_begin, s.q_len)
                       .unsqueeze(0)
                       .to(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
    if (m.blind.defined()) {
      g = g.masked_fill(m.blind.unsqueeze(1), 0);
      l = l.masked_fill(m.blind, std::numeric_limits<float>::infinity());  // probabilities exp(s - inf) = 0
    }
    auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        g, head_major(q, s.q_begin, s.q_len), head_major(k, s.k_begin, s.k_len),
        head_major(v, s.k_begin, s.k_len), head_major(out, s.q_begin, s.q_len), l.contiguous(), 0.0, m.causal,
        m.mask, options.scale);
    head_major(grads.dq, s.q_begin, s.q_len).copy_(dq);
    head_major(grads.dk, s.k_begin, s.k_len).add_(dk);
    head_major(grads.dv, s.k_begin, s.k_len).add_(dv);
  }
  return grads;
}

}  // namespace tessera::kernels
