// Attention in LibTorch's operations. Tensors of a block are [key heads, query heads of one * queries, ...].
#include "kernels/attention_composed.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>
#include <limits>

namespace tessera::kernels {
namespace {

constexpr int64_t kQueryBlock = 256;

at::Tensor wide(const at::Tensor& t) {
  return t.scalar_type() == at::kDouble ? t : t.to(at::kFloat);
}

/// Some queries of a span and the keys that any of them sees.
struct Block {
  int64_t q_begin, q_len;  ///< in q
  int64_t k_begin, k_len;  ///< in k
  int64_t diagonal;
};

Block block_of(const AttentionSpan& s, int64_t first, int64_t window) {
  const int64_t n = std::min(kQueryBlock, s.q_len - first);
  const int64_t diagonal = s.diagonal + first;
  const int64_t oldest = window > 0 ? std::clamp<int64_t>(diagonal - window + 1, 0, s.k_len) : 0;
  const int64_t end = std::clamp(diagonal + n, oldest, s.k_len);
  return {s.q_begin + first, n, s.k_begin + oldest, end - oldest, diagonal - oldest};
}

/// t [T, heads, d] to [kv heads, heads of one * n, d] of a block's queries.
at::Tensor queries(const at::Tensor& t, const Block& b, int64_t kv_heads) {
  const int64_t d = t.size(2);
  return wide(t.narrow(0, b.q_begin, b.q_len))
      .reshape({b.q_len, kv_heads, -1, d})
      .permute({1, 2, 0, 3})
      .reshape({kv_heads, -1, d});
}
/// The inverse, into t.
void put_queries(const at::Tensor& block, const Block& b, const at::Tensor& t) {
  const int64_t kv_heads = block.size(0), d = block.size(2);
  t.narrow(0, b.q_begin, b.q_len)
      .copy_(block.view({kv_heads, -1, b.q_len, d}).permute({2, 0, 1, 3}).reshape({b.q_len, -1, d}));
}

/// t [Tk, kv heads, d] to [kv heads, k_len, d] of a block's keys.
at::Tensor keys(const at::Tensor& t, const Block& b) {
  return wide(t.narrow(0, b.k_begin, b.k_len)).transpose(0, 1);
}

/// Rows [heads, T] of a block's queries as [kv heads, heads of one * n, 1].
at::Tensor rows_of(const at::Tensor& rows, const Block& b, int64_t kv_heads) {
  return rows.narrow(1, b.q_begin, b.q_len).reshape({kv_heads, -1, 1});
}

/// Scores as they enter the softmax, hidden ones -infinity, and the factor of their derivative with respect
/// to the product of query and key.
struct Scores {
  at::Tensor value;   // [kv heads, heads of one * n, k_len]
  at::Tensor factor;  // undefined: the scale alone
};

Scores scores_of(const at::Tensor& q, const at::Tensor& k, const Block& b, const AttentionOptions& options,
                 bool with_factor) {
  Scores s{at::bmm(q, k.transpose(1, 2)).mul_(options.scale), {}};
  if (options.soft_cap > 0) {
    s.value.div_(options.soft_cap).tanh_();
    if (with_factor) s.factor = s.value.square().neg_().add_(1);
    s.value.mul_(options.soft_cap);
  }
  const at::Tensor row = at::arange(b.q_len, q.options().dtype(at::kLong)).add_(b.diagonal).unsqueeze(1);
  const at::Tensor column = at::arange(b.k_len, q.options().dtype(at::kLong)).unsqueeze(0);
  at::Tensor hidden = column.gt(row);
  if (options.window > 0) hidden.logical_or_(column.le(row.sub(options.window)));
  s.value.view({q.size(0), -1, b.q_len, b.k_len})
      .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  return s;
}

}  // namespace

void attention_composed_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const AttentionSpan& span, const AttentionOptions& options,
                                const AttentionResult& result) {
  const int64_t kv_heads = k.size(1);
  for (int64_t first = 0; first < span.q_len; first += kQueryBlock) {
    const Block b = block_of(span, first, options.window);
    if (b.k_len == 0) continue;
    const Scores s = scores_of(queries(q, b, kv_heads), keys(k, b), b, options, false);
    const at::Tensor lse = at::logsumexp(s.value, 2, true);
    // A row that sees no key has lse -infinity: its probabilities are exp(-infinity - 0) = 0.
    const at::Tensor reference = lse.masked_fill(lse.isneginf(), 0);
    put_queries(at::bmm(s.value.sub(reference).exp_(), keys(v, b)), b, result.out);
    result.lse.narrow(1, b.q_begin, b.q_len).copy_(lse.view({-1, b.q_len}));
  }
}

void attention_composed_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                 const AttentionSpan& span, const AttentionOptions& options,
                                 const AttentionGrads& grads) {
  const int64_t kv_heads = k.size(1);
  for (int64_t first = 0; first < span.q_len; first += kQueryBlock) {
    const Block b = block_of(span, first, options.window);
    if (b.k_len == 0) continue;
    const at::Tensor qb = queries(q, b, kv_heads), kb = keys(k, b), vb = keys(v, b);
    const at::Tensor db = queries(dout, b, kv_heads);
    const Scores s = scores_of(qb, kb, b, options, true);
    const at::Tensor saved = rows_of(lse, b, kv_heads);
    const at::Tensor p = s.value.sub(saved.masked_fill(saved.isneginf(), 0)).exp_();
    const at::Tensor delta = db.mul(queries(out, b, kv_heads)).sum(2, true);
    at::Tensor ds = at::bmm(db, vb.transpose(1, 2)).sub_(delta).mul_(p).mul_(options.scale);
    if (s.factor.defined()) ds.mul_(s.factor);
    put_queries(at::bmm(ds, kb), b, grads.dq);
    grads.dk.narrow(0, b.k_begin, b.k_len).add_(at::bmm(ds.transpose(1, 2), qb).transpose(0, 1));
    grads.dv.narrow(0, b.k_begin, b.k_len).add_(at::bmm(p.transpose(1, 2), db).transpose(0, 1));
  }
}

}  // namespace tessera::kernels
