// All-gather of keys and values, reduce-scatter of their gradients.
#include "context/all_gather.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <map>

#include "context/spans.h"
#include "core/error.h"

namespace tessera {
namespace {

kernels::AttentionOptions with_heads(kernels::AttentionOptions options, int64_t first, int64_t count) {
  if (options.sinks.defined()) options.sinks = options.sinks.narrow(0, first, count);
  return options;
}

/// Heads [first, first + count) of t [T, H, d], contiguous.
at::Tensor heads(const at::Tensor& t, int64_t first, int64_t count) {
  return t.narrow(1, first, count).contiguous();
}

class AllGatherPlan final : public ContextPlan {
 public:
  AllGatherPlan(GroupPtr group, GatherSource source, int64_t heads_stride)
      : group_(std::move(group)), source_(std::move(source)), heads_stride_(heads_stride) {}

  Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const kernels::AttentionOptions& options) override;
  kernels::AttentionGrads attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                          const kernels::AttentionOptions& options) override;

 private:
  /// Keys and values of some heads on their way to all ranks.
  struct Gather {
    at::Tensor k, v;          // of this rank, contiguous
    at::Tensor all_k, all_v;  // of all ranks, rank after rank
    WorkPtr work;
  };
  Gather start_gather(const at::Tensor& k, const at::Tensor& v, int64_t first, int64_t count) const;
  void finish_gather(Gather& gather) const;
  /// Gradients of some heads on their way home.
  struct Scatter {
    at::Tensor all_dk, all_dv;  // rank after rank
    at::Tensor dk, dv;          // float32, of this rank
    int64_t first = 0;
    WorkPtr work;
  };
  Scatter start_scatter(const kernels::AttentionGrads& grads, int64_t first) const;
  static void finish_scatter(Scatter& scatter, const kernels::AttentionGrads& result);

  at::Tensor in_document_order(const at::Tensor& gathered) const;
  at::Tensor in_rank_order(const at::Tensor& ordered) const;
  int64_t stride_for(int64_t kv_heads) const;
  const std::vector<kernels::AttentionSpan>& spans(int64_t window);

  GroupPtr group_;
  GatherSource source_;
  int64_t heads_stride_;
  std::map<int64_t, std::vector<kernels::AttentionSpan>> spans_;  ///< by window
};

int64_t AllGatherPlan::stride_for(int64_t kv_heads) const {
  if (heads_stride_ == 0) return kv_heads;
  TESSERA_CHECK(kv_heads % heads_stride_ == 0, argument, "cp_heads_k_stride=", heads_stride_,
                " does not divide the ", kv_heads, " key/value heads of a rank");
  return heads_stride_;
}

const std::vector<kernels::AttentionSpan>& AllGatherPlan::spans(int64_t window) {
  const auto found = spans_.find(window);
  if (found != spans_.end()) return found->second;
  SpanPasses passes = visible_spans(source_.queries, source_.keys.pieces, window);
  TESSERA_CHECK(passes.size() <= 1, internal, "whole documents in ", passes.size(), " passes");
  return spans_.emplace(window, passes.empty() ? std::vector<kernels::AttentionSpan>{} : std::move(passes[0]))
      .first->second;
}

at::Tensor AllGatherPlan::in_document_order(const at::Tensor& gathered) const {
  if (source_.keys.in_place) return gathered.narrow(0, 0, source_.keys.order.numel());
  return at::index_select(gathered, 0, source_.keys.order);
}

at::Tensor AllGatherPlan::in_rank_order(const at::Tensor& ordered) const {
  const int64_t rows = group_->size() * source_.tokens;
  if (source_.keys.in_place && ordered.size(0) == rows) return ordered;
  at::Tensor out = at::zeros({rows, ordered.size(1), ordered.size(2)}, ordered.options());
  if (source_.keys.in_place) {
    out.narrow(0, 0, ordered.size(0)).copy_(ordered);
  } else {
    out.index_copy_(0, source_.keys.order, ordered);
  }
  return out;
}

AllGatherPlan::Gather AllGatherPlan::start_gather(const at::Tensor& k, const at::Tensor& v, int64_t first,
                                                  int64_t count) const {
  Gather gather;
  gather.k = heads(k, first, count);
  gather.v = heads(v, first, count);
  const int64_t rows = group_->size() * k.size(0);
  gather.all_k = at::empty({rows, count, k.size(2)}, k.options());
  gather.all_v = at::empty({rows, count, v.size(2)}, v.options());
  gather.work = group_->all_gather({gather.all_k, gather.all_v}, {gather.k, gather.v});
  return gather;
}

void AllGatherPlan::finish_gather(Gather& gather) const {
  gather.work->wait();
  gather.k.reset();
  gather.v.reset();
  gather.all_k = in_document_order(gather.all_k);
  gather.all_v = in_document_order(gather.all_v);
}

Attended AllGatherPlan::attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const kernels::AttentionOptions& options) {
  TESSERA_CHECK(q.size(0) == source_.tokens && k.size(0) == source_.tokens, internal, "attention of ",
                q.size(0), " tokens in a plan of ", source_.tokens);
  const int64_t kv_heads = k.size(1), stride = stride_for(kv_heads), share = q.size(1) / kv_heads;
  const std::vector<kernels::AttentionSpan>& mine = spans(options.window);
  kernels::AttentionResult total;
  Gather next = start_gather(k, v, 0, stride);
  for (int64_t first = 0; first < kv_heads; first += stride) {
    Gather now = std::move(next);
    finish_gather(now);
    if (first + stride < kv_heads) next = start_gather(k, v, first + stride, stride);
    const at::Tensor queries = q.narrow(1, first * share, stride * share);
    const kernels::AttentionResult part = kernels::attention(
        queries, now.all_k, now.all_v, mine, with_heads(options, first * share, stride * share));
    if (stride == kv_heads) {
      total = part;
      break;
    }
    if (first == 0) {
      total.out = at::empty({q.size(0), q.size(1), v.size(2)}, q.options());
      total.lse = at::empty({q.size(1), q.size(0)}, part.lse.options());
    }
    total.out.narrow(1, first * share, stride * share).copy_(part.out);
    total.lse.narrow(0, first * share, stride * share).copy_(part.lse);
  }
  return {total.out, {q, k, v, total.out, total.lse}};
}

AllGatherPlan::Scatter AllGatherPlan::start_scatter(const kernels::AttentionGrads& grads,
                                                    int64_t first) const {
  Scatter scatter;
  scatter.first = first;
  scatter.all_dk = in_rank_order(grads.dk);
  scatter.all_dv = in_rank_order(grads.dv);
  const auto own = [&](const at::Tensor& all) {
    return at::empty({source_.tokens, all.size(1), all.size(2)}, all.options().dtype(at::kFloat));
  };
  scatter.dk = own(grads.dk);
  scatter.dv = own(grads.dv);
  scatter.work =
      group_->reduce_scatter({scatter.dk, scatter.dv}, {scatter.all_dk, scatter.all_dv}, ReduceOp::sum);
  return scatter;
}

void AllGatherPlan::finish_scatter(Scatter& scatter, const kernels::AttentionGrads& result) {
  if (!scatter.work) return;
  scatter.work->wait();
  scatter.work.reset();
  result.dk.narrow(1, scatter.first, scatter.dk.size(1)).copy_(scatter.dk);
  result.dv.narrow(1, scatter.first, scatter.dv.size(1)).copy_(scatter.dv);
  scatter = {};
}

kernels::AttentionGrads AllGatherPlan::attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                                       const kernels::AttentionOptions& options) {
  const at::Tensor &q = kept.q, &k = kept.k, &v = kept.v;
  const int64_t kv_heads = k.size(1), stride = stride_for(kv_heads), share = q.size(1) / kv_heads;
  const std::vector<kernels::AttentionSpan>& mine = spans(options.window);
  const auto dense = at::MemoryFormat::Contiguous;
  kernels::AttentionGrads result{{}, at::empty_like(k, {}, dense), at::empty_like(v, {}, dense), {}};
  if (options.sinks.defined()) result.dsinks = at::empty({q.size(1)}, q.options().dtype(at::kFloat));
  Scatter behind;
  Gather next = start_gather(k, v, 0, stride);
  for (int64_t first = 0; first < kv_heads; first += stride) {
    Gather now = std::move(next);
    finish_gather(now);
    if (first + stride < kv_heads) next = start_gather(k, v, first + stride, stride);
    const int64_t q_first = first * share, q_count = stride * share;
    const auto some = [&](const at::Tensor& t) { return t.narrow(1, q_first, q_count); };
    const kernels::AttentionGrads part = kernels::attention_backward(
        some(dout), some(q), now.all_k, now.all_v, some(kept.out), kept.lse.narrow(0, q_first, q_count), mine,
        with_heads(options, q_first, q_count));
    if (options.sinks.defined()) result.dsinks.narrow(0, q_first, q_count).copy_(part.dsinks);
    finish_scatter(behind, result);
    behind = start_scatter(part, first);
    if (stride == kv_heads) {
      result.dq = part.dq;
    } else {
      if (!result.dq.defined()) result.dq = at::empty_like(q, {}, dense);
      some(result.dq).copy_(part.dq);
    }
  }
  finish_scatter(behind, result);
  return result;
}

}  // namespace

std::unique_ptr<ContextPlan> make_all_gather_plan(GroupPtr group, GatherSource source, int64_t heads_stride) {
  return std::make_unique<AllGatherPlan>(std::move(group), std::move(source), heads_stride);
}

}  // namespace tessera
