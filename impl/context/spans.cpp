// Spans of split documents, and the online softmax over them.
#include "context/spans.h"

#include <ATen/ops/add.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/cpu/thread_team.h"

namespace tessera {
namespace {

using kernels::AttentionSpan;

/// A stretch of keys that one query piece sees, and the last piece of keys in it.
struct Stretch {
  AttentionSpan span;
  ContextPiece last;
};

/// The part of `key` that some of the tokens of `query` see, as a piece; length 0 when there is none.
ContextPiece seen_part(const ContextPiece& query, const ContextPiece& key, int64_t window) {
  const int64_t oldest = window > 0 ? std::max<int64_t>(0, query.position - window + 1) : 0;
  const int64_t skipped = std::max<int64_t>(0, oldest - key.position);
  const int64_t end = std::min(key.end(), query.end());
  return {key.document, key.position + skipped, key.begin + skipped,
          std::max<int64_t>(0, end - key.position - skipped)};
}

/// Makes `stretch` longer by `key` if one diagonal describes both.
bool extend(Stretch& stretch, const ContextPiece& query, const ContextPiece& key, int64_t window) {
  AttentionSpan& span = stretch.span;
  if (stretch.last.begin + stretch.last.length != key.begin) return false;
  const bool continues = stretch.last.end() == key.position;
  // Positions may jump where every query sees all before the jump and no window counts them.
  const bool all_seen =
      window == 0 && stretch.last.end() <= query.position + 1 && key.position <= query.position + 1;
  if (!continues && !all_seen) return false;
  if (!continues) span.diagonal = query.position - key.position + span.k_len;
  span.k_len += key.length;
  stretch.last = key;
  return true;
}

/// The stretches of keys[first, last), all of the query's document.
std::vector<Stretch> stretches_of(const ContextPiece& query, const std::vector<ContextPiece>& keys,
                                  size_t first, size_t last, int64_t window) {
  std::vector<Stretch> stretches;
  for (size_t k = first; k < last; ++k) {
    const ContextPiece key = seen_part(query, keys[k], window);
    if (key.length == 0) continue;
    if (!stretches.empty() && extend(stretches.back(), query, key, window)) continue;
    stretches.push_back(
        {{query.begin, query.length, key.begin, key.length, query.position - key.position}, key});
  }
  return stretches;
}

/// merge_row of all rows in operators of LibTorch; rows that a part does not see have its lse -infinity.
void merge_on_device(kernels::AttentionResult& total, const at::Tensor& part, const at::Tensor& part_lse) {
  const at::Tensor top = at::maximum(total.lse, part_lse);
  const at::Tensor seen = top.ne(-std::numeric_limits<double>::infinity());
  const at::Tensor base = top.masked_fill(seen.logical_not(), 0);
  const at::Tensor a = at::exp(at::sub(total.lse, base)), b = at::exp(at::sub(part_lse, base));
  const at::Tensor sum = at::add(a, b).masked_fill_(seen.logical_not(), 1);
  const auto per_row = [](const at::Tensor& weights) {
    return weights.t().unsqueeze(2);
  };  // [tokens, heads, 1]
  total.out.mul_(per_row(at::div(a, sum))).add_(at::mul(part, per_row(at::div(b, sum))));
  total.lse.copy_(at::where(seen, at::add(base, at::log(sum)), top));
}

/// out and lse of one row become those over both sets of keys.
void merge_row(float* out, float& lse, const float* part, float part_lse, int64_t d) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  if (part_lse == kNothing) return;
  if (lse == kNothing) {
    std::copy_n(part, d, out);
    lse = part_lse;
    return;
  }
  const float top = std::max(lse, part_lse);
  const float a = std::exp(lse - top), b = std::exp(part_lse - top);
  const float keep = a / (a + b), take = b / (a + b);
  for (int64_t i = 0; i < d; ++i) out[i] = keep * out[i] + take * part[i];
  lse = top + std::log(a + b);
}

}  // namespace

SpanPasses visible_spans(const std::vector<ContextPiece>& queries, const std::vector<ContextPiece>& keys,
                         int64_t window) {
  SpanPasses passes;
  size_t first = 0;
  for (const ContextPiece& query : queries) {
    while (first < keys.size() && keys[first].document < query.document) ++first;
    size_t last = first;
    while (last < keys.size() && keys[last].document == query.document) ++last;
    const std::vector<Stretch> stretches = stretches_of(query, keys, first, last, window);
    if (passes.size() < stretches.size()) passes.resize(stretches.size());
    for (size_t s = 0; s < stretches.size(); ++s) passes[s].push_back(stretches[s].span);
  }
  return passes;
}

void PartialAttention::add(const kernels::AttentionResult& part, const std::vector<AttentionSpan>& spans) {
  if (parts_++ == 0) {
    total_ = part;
    return;
  }
  if (parts_ == 2) total_.out = total_.out.to(at::kFloat);  // float32 parts were made by the kernel for us
  const at::Tensor from = part.out.to(at::kFloat);
  if (!from.device().is_cpu()) return merge_on_device(total_, from, part.lse);
  const int64_t heads = from.size(1), d = from.size(2), tokens = from.size(0);
  const float* part_out = from.const_data_ptr<float>();
  const float* part_lse = part.lse.const_data_ptr<float>();
  float* out = total_.out.mutable_data_ptr<float>();
  float* lse = total_.lse.mutable_data_ptr<float>();
  for (const AttentionSpan& span : spans) {
    kernels::parallel_for(span.q_begin, span.q_begin + span.q_len, 64, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t row = (t * heads + h) * d, at = h * tokens + t;
          merge_row(out + row, lse[at], part_out + row, part_lse[at], d);
        }
      }
    });
  }
}

void PartialAttention::add_sinks(const at::Tensor& sinks) {
  total_.out = total_.out.to(at::kFloat);
  kernels::attention_add_sinks(total_, sinks);
}

kernels::AttentionResult PartialAttention::finish(at::ScalarType dtype) const {
  TESSERA_CHECK(!empty(), internal, "attention over no keys");
  return {total_.out.to(dtype), total_.lse};
}

}  // namespace tessera
