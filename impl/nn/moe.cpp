// Mixture of experts: router, dispatch, experts and shared expert in one block.
#include "nn/moe.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/capacity.h"
#include "kernels/device_copy.h"
#include "kernels/elementwise.h"

namespace tessera {
namespace {

bool cuts_width(const ParallelContext& parallel) {
  return parallel.tp_size > 1 && parallel.experts.split_width;
}

// A region in which each rank has its own rows and the whole is gathered from them.
TensorRegion own_rows_region(const ParallelContext& parallel) {
  ParallelContext by_rows = parallel;
  by_rows.sequence_parallel = true;
  return {by_rows, false};
}

RouterSpec placed(RouterSpec spec, const ParallelContext& parallel) {
  spec.rows_split = parallel.tp_size > 1 && !cuts_width(parallel);
  return spec;
}

ExpertsSpec placed(ExpertsSpec spec, const ParallelContext& parallel) {
  const ExpertContext& ep = parallel.experts;
  TESSERA_CHECK(spec.placement.experts % ep.size == 0, argument, "ep=", ep.size,
                " does not divide the number of experts, ", spec.placement.experts);
  spec.placement.ranks = ep.size;
  spec.placement.rank = ep.group ? ep.group->rank() : 0;
  spec.split_width = cuts_width(parallel);
  spec.carries_bias = TensorRegion(parallel, spec.split_width).carries_bias();
  TESSERA_CHECK(!spec.split_width || spec.intermediate % parallel.tp_size == 0, argument,
                "tp=", parallel.tp_size, " does not divide moe_intermediate_size=", spec.intermediate);
  return spec;
}

RouterLosses losses_of(const ParallelContext& parallel) {
  const ExpertContext& experts = parallel.experts;
  return {experts.balance_loss, experts.z_loss, experts.sharers, experts.global_balance, experts.everyone};
}

}  // namespace

Moe::Moe(const std::string& prefix, const MoeSpec& spec, const ParallelContext& parallel,
         std::vector<ParamSpec>& params)
    : width_(parallel, cuts_width(parallel)),
      rows_(own_rows_region(parallel)),
      sequence_parallel_(parallel.sequence_parallel && parallel.tp_size > 1),
      router_(prefix, placed(spec.router, parallel), losses_of(parallel), params),
      experts_(prefix, placed(spec.experts, parallel), params),
      dispatch_(make_expert_dispatch(parallel.experts.group, placed(spec.experts, parallel).placement,
                                     parse_expert_exchange(parallel.experts.exchange))),
      capacity_factor_(parallel.experts.capacity_factor),
      sharers_(parallel.experts.sharers),
      experts_count_(spec.router.experts) {
  for (ParamSpec& param : params) {
    if (param.ep_index < 0) continue;
    param.token_share =
        static_cast<double>(spec.router.options.top_k) / static_cast<double>(spec.experts.placement.experts);
  }
  if (spec.shared) shared_.emplace(prefix + "." + spec.shared_name, *spec.shared, params);
}

void Moe::bind(const std::vector<at::Tensor>& weights) {
  experts_.bind(weights);
  if (shared_) shared_->bind(weights);
}

void Moe::unbind() {
  experts_.unbind();
  if (shared_) shared_->unbind();
}

Moe::Share Moe::share_of(const Microbatch& mb) const {
  const int64_t tokens = mb.batch->tokens_count();
  const bool by_rows = !width_.split() && rows_.size() > 1;
  Share share;
  share.rows = by_rows ? rows_.rows(tokens) : tokens;
  const int64_t first = by_rows ? rows_.rank() * share.rows : 0;
  share.first = first;
  share.routed =
      std::clamp<int64_t>(tokens - first, 0, share.rows);  // behind the last token rows are nobody's
  if (!mb.document_tokens.defined()) return share;
  const int64_t* all = mb.document_tokens.const_data_ptr<int64_t>();
  const int64_t* end = all + mb.document_tokens.numel();
  const int64_t* from = std::lower_bound(all, end, first);
  const int64_t* to = std::lower_bound(from, end, first + share.routed);
  share.routed = to - from;
  share.tokens = mb.document_tokens.narrow(0, from - all, share.routed);
  share.picked = mb.document_rows.narrow(0, from - all, share.routed);
  if (first > 0) share.picked = share.picked.sub(first);
  return share;
}

at::Tensor Moe::routed_rows(const at::Tensor& x, const Microbatch& mb, const Share& share) const {
  at::Tensor mine = x;
  if (width_.split()) {
    mine = width_.enter(x, mb.batch->tokens_count());
  } else if (rows_.size() > 1 && !sequence_parallel_) {
    mine = rows_.own_rows(x);
  }
  return share.picked.defined() ? mine.index_select(0, share.picked) : mine.narrow(0, 0, share.routed);
}

at::Tensor Moe::outside_rows(const at::Tensor& routed, const Microbatch& mb, const Share& share) const {
  at::Tensor mine = routed;
  if (share.picked.defined()) {
    mine = at::zeros({share.rows, routed.size(1)}, routed.options());
    mine.index_copy_(0, share.picked, routed);
  } else if (share.routed < share.rows) {
    mine = at::zeros({share.rows, routed.size(1)}, routed.options());
    mine.narrow(0, 0, share.routed).copy_(routed);
  }
  if (width_.split()) return width_.leave(mine);
  return rows_.size() == 1 || sequence_parallel_ ? mine : rows_.enter(mine, mb.batch->tokens_count());
}

RouterLoad Moe::end_census() {
  RouterLoad load = census_ ? std::move(*census_) : RouterLoad();
  census_.reset();
  return load;
}

// All ranks of the micro-batch see all its choices, each token in its place, and select alike.
at::Tensor Moe::within_capacity(const kernels::Routing& routing, const Microbatch& mb,
                                const Share& share) const {
  const auto longs = at::dtype(at::kLong);
  at::Tensor places =
      share.tokens.defined() ? share.tokens : at::arange(share.first, share.first + share.routed, longs);
  if (mb.places.defined()) places = mb.places.index_select(0, places);
  const int64_t k = routing.experts.size(1);
  const at::Tensor table = at::zeros({mb.whole_tokens, 2 * k}, at::dtype(at::kDouble));  // 0: no token
  // A router on a device is waited for.
  const at::Tensor mine =
      at::cat({routing.experts.add(1).to(at::kDouble), routing.weights.to(at::kDouble)}, 1);
  table.index_copy_(0, places, mine.cpu());
  if (sharers_) sharers_->all_reduce({table}, ReduceOp::sum)->wait();

  const at::Tensor experts = table.narrow(1, 0, k).to(at::kLong).sub_(1).contiguous();
  const at::Tensor weights = table.narrow(1, k, k).to(at::kFloat).contiguous();
  const auto tokens = experts.select(1, 0).ge(0).sum().item<int64_t>();
  const int64_t capacity = kernels::expert_capacity(capacity_factor_, k, tokens, experts_count_);
  const at::Tensor kept = kernels::within_capacity(experts, weights, experts_count_, capacity);
  return sent_to(routing.experts.device(), kept.index_select(0, places));
}

at::Tensor Moe::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                        Saved& saved, Recompute recompute) const {
  const Share share = share_of(mb);
  const at::Tensor mine = routed_rows(x, mb, share);
  const kernels::Routing routing = router_.forward(weights, mine);
  if (census_) census_->add(routing.experts.cpu(), experts_count_);
  at::Tensor taken = routing.experts;
  at::Tensor factors = routing.weights;
  if (limited(mb)) {
    taken = within_capacity(routing, mb, share);
    factors = kernels::rescale_kept(routing.weights, taken);
  }
  at::Tensor counts;
  const ExpertRoute route = dispatch_->plan(taken, counts);
  PendingRows travelling = dispatch_->start_dispatch(route, mine);
  // The shared expert computes while rows travel. Its backward comes before the experts', so what it keeps
  // goes above what they keep.
  Saved shared_saved;
  at::Tensor shared;
  if (shared_) shared = shared_->forward(weights, x, mb, shared_saved, recompute);

  const at::Tensor rows = travelling.wait();
  const at::Tensor results = experts_.forward(weights, rows, route.expert_rows, saved, recompute);
  at::Tensor output = outside_rows(dispatch_->collect(route, results, factors), mb, share);
  if (shared_) kernels::add_to(output, shared);
  if (!dispatch_->local()) saved.push(rows);
  for (at::Tensor& tensor : shared_saved.tensors()) saved.push(std::move(tensor));
  saved.push(counts);
  saved.push(routing.experts);
  saved.push(routing.weights);
  saved.push(routing.scores);
  if (limited(mb)) saved.push(taken);
  return output;
}

at::Tensor Moe::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                         const Microbatch& mb, Saved& saved, WeightGrads& grads) const {
  const Share share = share_of(mb);
  const at::Tensor mine_dy = routed_rows(dy, mb, share);
  const at::Tensor mine_x = routed_rows(x, mb, share);
  at::Tensor taken;
  if (limited(mb)) taken = saved.pop();
  kernels::Routing routing;
  routing.scores = saved.pop();
  routing.weights = saved.pop();
  routing.experts = saved.pop();
  at::Tensor counts = saved.pop();
  const ExpertRoute route = dispatch_->plan(taken.defined() ? taken : routing.experts, counts);
  PendingRows travelling = dispatch_->start_dispatch(route, mine_dy);
  at::Tensor dshared;
  if (shared_) dshared = shared_->backward(weights, dy, x, mb, saved, grads);

  const at::Tensor kept_weights =
      taken.defined() ? kernels::rescale_kept(routing.weights, taken) : routing.weights;
  const at::Tensor factors = dispatch_->dispatch_pairs(route, kept_weights);
  const at::Tensor drows = travelling.wait();
  const at::Tensor rows = dispatch_->local() ? dispatch_->dispatch(route, mine_x) : saved.pop();
  const Experts::Gradients inner =
      experts_.backward(weights, drows, factors, rows, route.expert_rows, saved, grads);
  at::Tensor dweights = dispatch_->collect_pairs(route, inner.weights);
  width_.all_reduce(dweights, ReduceOp::sum);
  if (taken.defined()) dweights = kernels::rescale_kept_backward(dweights, routing.weights, taken);
  const at::Tensor mine_dx = dispatch_->collect(route, inner.rows, {});
  const at::Tensor drouted = router_.backward(weights, dweights, routing, mine_x, mb, load_, grads);
  // Where widths are cut every rank of tp has formed the router's gradient, and sums count it once.
  if (width_.carries_bias()) kernels::add_to(mine_dx, drouted);
  at::Tensor dx = outside_rows(mine_dx, mb, share);
  if (dshared.defined()) kernels::add_to(dx, dshared);
  return dx;
}

}  // namespace tessera
