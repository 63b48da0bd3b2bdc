// Context parallel: the exchange that the options ask for, put together from its parts.
#include "context/context_parallel.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "comm/device_world.h"
#include "context/all_gather.h"
#include "context/ring.h"
#include "context/ulysses.h"
#include "core/error.h"

namespace tessera {
namespace {

bool splits_heads(ContextExchange exchange) {
  return exchange != ContextExchange::ring && exchange != ContextExchange::all_gather;
}

bool gathers_keys(ContextExchange exchange) {
  return exchange == ContextExchange::all_gather || exchange == ContextExchange::ulysses_all_gather;
}

/// Ranks of one all-to-all.
int64_t ulysses_ranks(const ContextOptions& options, int64_t cp) {
  if (options.exchange == ContextExchange::ulysses) return cp;
  return splits_heads(options.exchange) ? options.ulysses : 1;
}

/// Indices where the tensors are that they choose from.
MergedPieces on_device(MergedPieces merged, const Group& group) {
  merged.order = merged.order.to(device_of(group));
  return merged;
}

/// The whole layout, and this rank's place in it, as one exchange sees them.
std::unique_ptr<ContextPlan> make_sequence_plan(const ContextOptions& options, const GroupPtr& group,
                                                int rank, const ContextLayout& layout) {
  if (layout.size() > 1 && gathers_keys(options.exchange)) {
    GatherSource source{layout.pieces.at(static_cast<size_t>(rank)),
                        on_device(merge_pieces(layout, 0, layout.size()), *group), layout.local_tokens};
    return make_all_gather_plan(group, std::move(source), options.heads_k_stride);
  }
  return make_ring_plan(layout.size() > 1 ? group : nullptr, layout.pieces, layout.local_tokens);
}

/// Rows of `host_indices` (-1: a row of zeros) of t.
at::Tensor select_rows(const at::Tensor& t, const at::Tensor& host_indices) {
  const at::Tensor indices = host_indices.to(t.device());
  const at::Tensor missing = indices.lt(0);
  at::Tensor out = at::index_select(t, 0, indices.clamp_min(0));
  std::vector<int64_t> shape(static_cast<size_t>(out.dim()), 1);
  shape[0] = out.size(0);
  return out.masked_fill_(missing.view(shape), 0);
}

}  // namespace

std::string_view context_exchange_name(ContextExchange exchange) {
  constexpr std::string_view kNames[] = {"ring", "all_gather", "ulysses", "ulysses_ring",
                                         "ulysses_all_gather"};
  return kNames[static_cast<int>(exchange)];
}

void check_context_options(const ContextOptions& options, int64_t cp, int64_t tp, int64_t heads,
                           int64_t kv_heads) {
  if (cp == 1) return;
  const std::string_view name = context_exchange_name(options.exchange);
  const int64_t ranks = ulysses_ranks(options, cp);
  if (splits_heads(options.exchange)) {
    TESSERA_CHECK(ranks >= 1, argument, "parallel.cp_exchange=", name,
                  " needs parallel.cp_ulysses, the number of ranks that exchange heads");
    TESSERA_CHECK(cp % ranks == 0, argument, "parallel.cp_ulysses=", ranks, " does not divide cp=", cp);
    const std::string who =
        options.exchange == ContextExchange::ulysses ? cat("cp=", cp) : cat("parallel.cp_ulysses=", ranks);
    TESSERA_CHECK(heads % (tp * ranks) == 0, argument, "parallel.cp_exchange=", name, ": ", who,
                  tp > 1 ? cat(" times tp=", tp) : std::string(), " does not divide n_heads=", heads);
  }
  TESSERA_CHECK(options.heads_k_stride >= 0, argument, "parallel.cp_heads_k_stride=", options.heads_k_stride,
                " is negative");
  if (options.heads_k_stride == 0 || !gathers_keys(options.exchange)) return;
  // Under tp a rank has its share of the key heads, at least one.
  const int64_t q_heads = heads / tp, local_kv = std::max<int64_t>(1, kv_heads / tp);
  if (q_heads % local_kv != 0 || q_heads % ranks != 0) return;  // tensor parallel says what it does not like
  const int64_t travelling = split_heads(q_heads, local_kv, static_cast<int>(ranks)).kv_heads;
  TESSERA_CHECK(travelling % options.heads_k_stride == 0, argument,
                "parallel.cp_heads_k_stride=", options.heads_k_stride, " does not divide the ", travelling,
                " key/value heads of a rank");
}

ContextParallel::ContextParallel(const DeviceMesh& mesh, const ContextOptions& options,
                                 const ExposedTimePtr& exposed)
    : options_(options), group_(metered(mesh.group("cp"), exposed)) {
  const auto ranks = static_cast<int>(ulysses_ranks(options, size()));
  if (ranks == 1) {
    outer_ = group_;
  } else if (ranks == size()) {
    inner_ = group_;
  } else {
    TESSERA_CHECK(ranks > 1 && size() % ranks == 0, argument, "parallel.cp_ulysses=", ranks,
                  " does not divide cp=", size());
    std::vector<int> neighbours, across;
    const std::vector<int>& all = group_->world_ranks();
    const int first = rank() / ranks * ranks;
    for (int r = first; r < first + ranks; ++r) neighbours.push_back(all[static_cast<size_t>(r)]);
    for (int r = rank() % ranks; r < size(); r += ranks) across.push_back(all[static_cast<size_t>(r)]);
    inner_ = metered(mesh.world()->group("cp_ulysses", neighbours), exposed);
    outer_ = metered(mesh.world()->group("cp_across", across), exposed);
  }
}

std::unique_ptr<ContextPlan> ContextParallel::make_plan(const ContextLayout& layout) const {
  if (!inner_) return make_sequence_plan(options_, outer_, rank(), layout);
  const int ranks = inner_->size(), group = rank() / ranks;
  const ContextLayout outer = merge_ranks(layout, ranks);
  return make_ulysses_plan(inner_, layout.local_tokens,
                           on_device(merge_pieces(layout, group * ranks, ranks), *inner_), outer.local_tokens,
                           make_sequence_plan(options_, outer_, group, outer));
}

ContextBatch ContextParallel::shard(const PackedBatch& batch, int64_t multiple) const {
  ContextBatch result;
  result.layout = make_context_layout(batch, options_.layout, size(), multiple);
  result.local = shard_batch(batch, result.layout, rank());
  if (result.local.tokens_count() > 0) result.plan = make_plan(result.layout);
  return result;
}

at::Tensor document_tokens(const ContextBatch& batch, int rank) {
  const at::Tensor rows = context_indices(batch.layout, rank).ge(0).nonzero().view({-1});
  return rows.numel() == batch.local.tokens_count() ? at::Tensor() : rows;
}

at::Tensor ContextParallel::gather(const at::Tensor& local, const ContextLayout& layout,
                                   int64_t tokens) const {
  TESSERA_CHECK(local.dim() >= 1 && local.size(0) == layout.local_tokens, argument, "gather of ",
                local.sizes(), " where a rank has ", layout.local_tokens, " tokens");
  std::vector<int64_t> shape = local.sizes().vec();
  shape[0] *= size();
  const at::Tensor all = at::empty(shape, local.options());
  group_->all_gather({all}, {local.contiguous()})->wait();
  return select_rows(all, context_inverse(layout, tokens));
}

at::Tensor ContextParallel::gather_backward(const at::Tensor& grad, const ContextLayout& layout,
                                            bool sum) const {
  if (!sum) return select_rows(grad, context_indices(layout, rank()));
  std::vector<int64_t> shape = grad.sizes().vec();
  shape[0] = size() * layout.local_tokens;
  const at::Tensor by_rank = at::empty(shape, grad.options());
  for (int r = 0; r < size(); ++r)
    by_rank.narrow(0, r * layout.local_tokens, layout.local_tokens)
        .copy_(select_rows(grad, context_indices(layout, r)));
  shape[0] = layout.local_tokens;
  const at::Tensor mine = at::empty(shape, grad.options());
  group_->reduce_scatter({mine}, {by_rank}, ReduceOp::sum)->wait();
  return mine;
}

}  // namespace tessera
