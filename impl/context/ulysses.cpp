// All-to-all between tokens and heads, around an attention of all tokens.
#include "context/ulysses.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <numeric>

#include "core/error.h"
#include "kernels/device_copy.h"

namespace tessera {
namespace {

class UlyssesPlan final : public ContextPlan {
 public:
  UlyssesPlan(GroupPtr group, int64_t tokens, MergedPieces merged, int64_t inner_tokens,
              std::unique_ptr<ContextPlan> inner)
      : group_(std::move(group)),
        tokens_(tokens),
        merged_(std::move(merged)),
        inner_tokens_(inner_tokens),
        inner_(std::move(inner)) {}

  Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const kernels::AttentionOptions& options) override;
  kernels::AttentionGrads attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                          const kernels::AttentionOptions& options) override;
  bool keeps_arguments() const override { return false; }

 private:
  at::Tensor to_heads(const at::Tensor& by_rank) const;
  at::Tensor to_tokens(const std::vector<at::Tensor>& parts) const;
  at::Tensor sum_copies(const at::Tensor& by_rank, const HeadSplit& split) const;
  kernels::AttentionOptions own_heads(kernels::AttentionOptions options, int64_t heads) const;

  int ranks() const { return group_->size(); }

  GroupPtr group_;
  int64_t tokens_;
  MergedPieces merged_;
  int64_t inner_tokens_;
  std::unique_ptr<ContextPlan> inner_;
  int64_t kv_heads_ = 0;  ///< of the layer, before the split; the same for all layers
};

/// by_rank [ranks, T, n], part r for rank r: [inner tokens, n] of this rank's heads, in the order of
/// documents.
at::Tensor UlyssesPlan::to_heads(const at::Tensor& by_rank) const {
  const at::Tensor received = at::empty_like(by_rank);
  group_->all_to_all(received, by_rank, {}, {})->wait();
  const int64_t real = merged_.order.numel();
  const at::Tensor rows = received.view({-1, by_rank.size(2)});
  if (merged_.in_place && inner_tokens_ <= rows.size(0)) return rows.narrow(0, 0, inner_tokens_);
  if (inner_tokens_ == real) return at::index_select(rows, 0, merged_.order);
  at::Tensor ordered = at::zeros({inner_tokens_, rows.size(1)}, rows.options());
  at::Tensor filled = ordered.narrow(0, 0, real);
  at::index_select_out(filled, rows, 0, merged_.order);
  return ordered;
}

/// The way back: parts [inner tokens, ...] side by side as rows, to [ranks, T, all of them], part r from rank
/// r.
at::Tensor UlyssesPlan::to_tokens(const std::vector<at::Tensor>& parts) const {
  const auto width = [](const at::Tensor& part) { return part.size(1) * part.size(2); };
  int64_t columns = 0;
  for (const at::Tensor& part : parts) columns += width(part);
  const int64_t real = merged_.order.numel();
  at::Tensor rows = at::zeros({ranks() * tokens_, columns}, parts[0].options());
  int64_t at = 0;
  for (const at::Tensor& heads : parts) {
    const at::Tensor part = heads.reshape({heads.size(0), width(heads)});
    at::Tensor target = rows.narrow(1, at, part.size(1));
    if (merged_.in_place) {
      target.narrow(0, 0, real).copy_(part.narrow(0, 0, real));
    } else {
      target.index_copy_(0, merged_.order, part.narrow(0, 0, real));
    }
    at += part.size(1);
  }
  const at::Tensor received = at::empty_like(rows);
  group_->all_to_all(received, rows, {}, {})->wait();
  return received.view({ranks(), tokens_, columns});
}

/// by_rank [ranks, T, heads of one * d]: [T, heads, d] of all ranks' equal parts of the heads.
at::Tensor join_heads(const at::Tensor& by_rank, int64_t d) {
  const at::Tensor out = by_rank.transpose(0, 1).contiguous();
  return out.view({out.size(0), -1, d});
}

/// Columns [first, first + heads * d) of rows [T, ...] as [T, heads, d].
at::Tensor heads_of(const at::Tensor& rows, int64_t first, int64_t heads, int64_t d) {
  return rows.narrow(1, first, heads * d).view({rows.size(0), heads, d});
}

/// The sinks of this rank's part of the heads.
kernels::AttentionOptions UlyssesPlan::own_heads(kernels::AttentionOptions options, int64_t heads) const {
  if (options.sinks.defined()) options.sinks = options.sinks.narrow(0, group_->rank() * heads, heads);
  return options;
}

Attended UlyssesPlan::attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const kernels::AttentionOptions& options) {
  TESSERA_CHECK(q.size(0) == tokens_ && k.size(0) == tokens_, internal, "attention of ", q.size(0),
                " tokens in a plan of ", tokens_);
  const HeadSplit split = split_heads(q.size(1), k.size(1), ranks());
  const int64_t d = q.size(2), e = v.size(2), nq = split.q_heads, nkv = split.kv_heads;
  kv_heads_ = k.size(1);
  at::Tensor packed = at::empty({ranks(), tokens_, nq * d + nkv * (d + e)}, q.options());
  const auto place = [&](const at::Tensor& t, int64_t first, int64_t columns) {
    packed.narrow(2, first, columns).copy_(t.view({tokens_, ranks(), columns}).transpose(0, 1));
  };
  const at::Tensor travelling = sent_to(k.device(), split.kv, at::kLong);
  const auto copies = [&](const at::Tensor& t) {
    return split.copies ? at::index_select(t, 1, travelling) : t.contiguous();
  };
  place(q.contiguous(), 0, nq * d);
  place(copies(k), nq * d, nkv * d);
  place(copies(v), (nq + nkv) * d, nkv * e);
  const at::Tensor mine = to_heads(packed);
  packed.reset();

  const Attended inner = inner_->attend(heads_of(mine, 0, nq, d), heads_of(mine, nq * d, nkv, d),
                                        heads_of(mine, (nq + nkv) * d, nkv, e), own_heads(options, nq));
  return {join_heads(to_tokens({inner.out}), e), inner.kept};
}

/// Gradients [ranks, T, heads of one * d] of key/value heads from the ranks that had them: [T, kv_heads, d].
at::Tensor UlyssesPlan::sum_copies(const at::Tensor& by_rank, const HeadSplit& split) const {
  const at::Tensor joined = join_heads(by_rank, by_rank.size(2) / split.kv_heads);
  if (!split.copies) return joined;
  at::Tensor sum = at::zeros({tokens_, kv_heads_, joined.size(2)}, joined.options().dtype(at::kFloat));
  for (size_t i = 0; i < split.kv.size(); ++i)
    sum.select(1, split.kv[i]).add_(joined.select(1, static_cast<int64_t>(i)));
  return sum.to(joined.scalar_type());
}

kernels::AttentionGrads UlyssesPlan::attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                                     const kernels::AttentionOptions& options) {
  const HeadSplit split = split_heads(dout.size(1), kv_heads_, ranks());
  const int64_t nq = split.q_heads, nkv = split.kv_heads, d = kept.q.size(2), e = dout.size(2);
  const at::Tensor by_rank = dout.contiguous().view({tokens_, ranks(), nq * e}).transpose(0, 1).contiguous();
  const kernels::AttentionGrads inner =
      inner_->attend_backward(heads_of(to_heads(by_rank), 0, nq, e), kept, own_heads(options, nq));
  const at::Tensor grads = to_tokens({inner.dq, inner.dk, inner.dv});
  kernels::AttentionGrads result{join_heads(grads.narrow(2, 0, nq * d), d),
                                 sum_copies(grads.narrow(2, nq * d, nkv * d), split),
                                 sum_copies(grads.narrow(2, (nq + nkv) * d, nkv * e), split),
                                 {}};
  if (options.sinks.defined()) {
    result.dsinks = at::zeros({dout.size(1)}, inner.dsinks.options());
    result.dsinks.narrow(0, group_->rank() * nq, nq).copy_(inner.dsinks);
  }
  return result;
}

}  // namespace

HeadSplit split_heads(int64_t q_heads, int64_t kv_heads, int ranks) {
  TESSERA_CHECK(q_heads % ranks == 0, argument, "cp_ulysses=", ranks, " does not divide the ", q_heads,
                " attention heads of a rank");
  TESSERA_CHECK(kv_heads > 0 && q_heads % kv_heads == 0, argument, q_heads,
                " query heads are not a multiple of ", kv_heads, " key heads");
  HeadSplit split;
  split.q_heads = q_heads / ranks;
  // Runs of this many query heads share a key head on every rank.
  const int64_t run = std::gcd(q_heads / kv_heads, split.q_heads);
  split.kv_heads = split.q_heads / run;
  for (int64_t h = 0; h < q_heads; h += run) split.kv.push_back(h / (q_heads / kv_heads));
  split.copies = static_cast<int64_t>(split.kv.size()) != kv_heads;
  return split;
}

std::unique_ptr<ContextPlan> make_ulysses_plan(GroupPtr group, int64_t tokens, MergedPieces merged,
                                               int64_t inner_tokens, std::unique_ptr<ContextPlan> inner) {
  return std::make_unique<UlyssesPlan>(std::move(group), tokens, std::move(merged), inner_tokens,
                                       std::move(inner));
}

}  // namespace tessera
