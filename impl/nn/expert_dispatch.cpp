// Dispatch by all-to-all and by all-gather.
#include "nn/expert_dispatch.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "kernels/device_copy.h"

namespace tessera {
namespace {

int64_t sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

// The rows of `values` that are given by `rows`.
at::Tensor select(const at::Tensor& values, const at::Tensor& rows) {
  return values.index_select(0, rows);
}

const kernels::ExpertCounts kNoCounts;

// What order_by_expert has counted before, as it was kept: before the first expert (when `head` is 1), then
// by expert.
kernels::ExpertCounts counted(const at::Tensor& kept, int64_t head, int64_t experts) {
  const int64_t* numbers = kept.const_data_ptr<int64_t>();
  return {{numbers + head, numbers + head + experts}, head > 0 ? numbers[0] : 0};
}

// Not filled, shaped like `like` but for the rows.
at::Tensor sized(const at::Tensor& like, int64_t rows) {
  std::vector<int64_t> shape = like.sizes().vec();
  shape[0] = rows;
  return at::empty(shape, like.options());
}

class AllToAllDispatch final : public ExpertDispatch {
 public:
  AllToAllDispatch(GroupPtr group, const ExpertPlacement& placement)
      : group_(std::move(group)), at_(placement) {}

  bool local() const override { return at_.ranks == 1; }

  ExpertRoute plan(const at::Tensor& experts, at::Tensor& counts) const override {
    ExpertRoute route;
    route.tokens = experts.size(0);
    const kernels::ExpertCounts known = counts.defined() ? counted(counts, 0, at_.experts) : kNoCounts;
    route.order =
        kernels::order_by_expert(experts, 0, at_.experts, at_.experts, counts.defined() ? &known : nullptr);
    if (!counts.defined()) counts = exchange_counts(route.order.counts);
    if (at_.ranks == 1) {
      route.expert_rows = route.order.counts;
      return route;
    }
    const int64_t local = at_.local();
    const int64_t* arriving = counts.const_data_ptr<int64_t>() + at_.experts;  // [ranks, local]
    route.expert_rows.assign(local, 0);
    for (int64_t rank = 0; rank < at_.ranks; ++rank) {
      const auto own = route.order.counts.begin() + rank * local;
      route.send.push_back(std::accumulate(own, own + local, int64_t{0}));
      route.receive.push_back(
          std::accumulate(arriving + rank * local, arriving + (rank + 1) * local, int64_t{0}));
      for (int64_t e = 0; e < local; ++e) route.expert_rows[e] += arriving[rank * local + e];
    }
    sort_arrivals(arriving, experts.device(), route);
    return route;
  }

  PendingRows start_dispatch(const ExpertRoute& route, const at::Tensor& values) const override {
    return start_to_experts(route, select(values, route.order.tokens));
  }

  at::Tensor collect(const ExpertRoute& route, const at::Tensor& rows,
                     const at::Tensor& weights) const override {
    return kernels::combine_rows(from_experts(route, rows), route.order, weights);
  }

  at::Tensor dispatch_pairs(const ExpertRoute& route, const at::Tensor& pairs) const override {
    return start_to_experts(route, select(pairs.reshape({-1}), route.order.choices)).wait();
  }

  at::Tensor collect_pairs(const ExpertRoute& route, const at::Tensor& rows) const override {
    at::Tensor pairs = at::zeros(route.order.positions.sizes(), rows.options());
    pairs.view({-1}).index_copy_(0, route.order.choices, from_experts(route, rows));
    return pairs;
  }

 private:
  // Own rows of all experts, then those that arrive.
  at::Tensor exchange_counts(const std::vector<int64_t>& own) const {
    at::Tensor all = at::empty({at_.ranks == 1 ? at_.experts : 2 * at_.experts}, at::dtype(at::kLong));
    std::copy(own.begin(), own.end(), all.mutable_data_ptr<int64_t>());
    if (at_.ranks == 1) return all;
    const at::Tensor received = all.narrow(0, at_.experts, at_.experts);
    group_->all_to_all(received, all.narrow(0, 0, at_.experts), {}, {})->wait();
    return all;
  }

  // Rows arrive rank by rank, within a rank expert by expert.
  void sort_arrivals(const int64_t* arriving, at::Device device, ExpertRoute& route) const {
    if (!device.is_cpu()) return sort_arrivals_there(arriving, device, route);
    const int64_t local = at_.local();
    std::vector<int64_t> next(local, 0);
    for (int64_t e = 1; e < local; ++e) next[e] = next[e - 1] + route.expert_rows[e - 1];
    route.arrival = at::empty({sum(route.receive)}, at::dtype(at::kLong));
    route.place = at::empty_like(route.arrival);
    auto* arrival = route.arrival.mutable_data_ptr<int64_t>();
    auto* place = route.place.mutable_data_ptr<int64_t>();
    int64_t row = 0;
    for (int64_t rank = 0; rank < at_.ranks; ++rank) {
      for (int64_t e = 0; e < local; ++e) {
        for (int64_t i = 0; i < arriving[rank * local + e]; ++i, ++row) {
          place[row] = next[e];
          arrival[next[e]++] = row;
        }
      }
    }
  }

  void sort_arrivals_there(const int64_t* arriving, at::Device device, ExpertRoute& route) const {
    const at::Tensor counts = sent_to(device, {arriving, arriving + at_.experts}, at::kLong);
    const at::Tensor expert = at::arange(at_.experts, counts.options()).remainder(at_.local());
    const int64_t rows = sum(route.receive);
    const at::Tensor expert_of_row = at::repeat_interleave(expert, counts, 0, rows);
    route.arrival = std::get<1>(at::sort(expert_of_row, std::optional<bool>(true), 0, false));
    route.place = at::empty_like(route.arrival);
    route.place.scatter_(0, route.arrival, at::arange(rows, counts.options()));
  }

  // The received rows as they arrive.
  PendingRows exchange(const at::Tensor& rows, const std::vector<int64_t>& out,
                       const std::vector<int64_t>& in) const {
    const at::Tensor received = sized(rows, sum(out));
    WorkPtr work = group_->all_to_all(received, rows, out, in);
    return PendingRows([received, rows, work = std::move(work)] {
      work->wait();
      return received;
    });
  }

  PendingRows start_to_experts(const ExpertRoute& route, const at::Tensor& rows) const {
    if (at_.ranks == 1) return PendingRows([rows] { return rows; });
    return PendingRows([&route, arrived = exchange(rows, route.receive, route.send)]() mutable {
      return select(arrived.wait(), route.arrival);
    });
  }

  at::Tensor from_experts(const ExpertRoute& route, const at::Tensor& rows) const {
    if (at_.ranks == 1) return rows;
    return exchange(select(rows, route.place), route.send, route.receive).wait();
  }

  GroupPtr group_;
  ExpertPlacement at_;
};

// All ranks see all tokens, padded to the longest rank's.
class AllGatherDispatch final : public ExpertDispatch {
 public:
  AllGatherDispatch(GroupPtr group, const ExpertPlacement& placement)
      : group_(std::move(group)), at_(placement) {}

  bool local() const override { return false; }

  ExpertRoute plan(const at::Tensor& experts, at::Tensor& counts) const override {
    ExpertRoute route;
    route.tokens = experts.size(0);
    const bool first_time = !counts.defined();
    if (first_time) counts = exchange_counts(route.tokens);
    int64_t* numbers = counts.mutable_data_ptr<int64_t>();  // tokens of the ranks, rows of the experts
    route.rank_tokens.assign(numbers, numbers + at_.ranks);
    const kernels::ExpertCounts known =
        first_time ? kNoCounts : counted(counts.narrow(0, at_.ranks, at_.local() + 1), 1, at_.local());
    route.order = kernels::order_by_expert(gather(route, experts), at_.first(), at_.local(), at_.experts,
                                           first_time ? nullptr : &known);
    route.expert_rows = route.order.counts;
    numbers[at_.ranks] = route.order.before;
    std::copy(route.expert_rows.begin(), route.expert_rows.end(), numbers + at_.ranks + 1);
    return route;
  }

  PendingRows start_dispatch(const ExpertRoute& route, const at::Tensor& values) const override {
    return PendingRows([&route, all = start_gather(route, values)]() mutable {
      return select(all.wait(), route.order.tokens);
    });
  }

  at::Tensor collect(const ExpertRoute& route, const at::Tensor& rows,
                     const at::Tensor& weights) const override {
    const at::Tensor all = weights.defined() ? gather(route, weights) : at::Tensor();
    return scatter(route, kernels::combine_rows(rows, route.order, all));
  }

  at::Tensor dispatch_pairs(const ExpertRoute& route, const at::Tensor& pairs) const override {
    return select(gather(route, pairs).reshape({-1}), route.order.choices);
  }

  // A pair has its expert on one rank: the others add nothing.
  at::Tensor collect_pairs(const ExpertRoute& route, const at::Tensor& rows) const override {
    const at::Tensor pairs = at::zeros(route.order.positions.sizes(), rows.options());
    pairs.view({-1}).index_copy_(0, route.order.choices, rows);
    return scatter(route, pairs);
  }

 private:
  at::Tensor exchange_counts(int64_t tokens) const {
    at::Tensor counts = at::empty({at_.ranks + 1 + at_.local()}, at::dtype(at::kLong));
    const at::Tensor mine = at::empty({1}, counts.options());
    mine.fill_(tokens);
    group_->all_gather({counts.narrow(0, 0, at_.ranks)}, {mine})->wait();
    return counts;
  }

  static int64_t most(const ExpertRoute& route) {
    return *std::max_element(route.rank_tokens.begin(), route.rank_tokens.end());
  }

  at::Tensor gather(const ExpertRoute& route, const at::Tensor& mine) const {
    return start_gather(route, mine).wait();
  }

  // [T, ...] of all ranks, one after the other without padding.
  PendingRows start_gather(const ExpertRoute& route, const at::Tensor& mine) const {
    const int64_t rows = most(route);
    const at::Tensor padded = sized(mine, rows).zero_();
    padded.narrow(0, 0, route.tokens).copy_(mine);
    const at::Tensor all = sized(mine, rows * at_.ranks);
    WorkPtr work = rows > 0 ? group_->all_gather({all}, {padded}) : nullptr;
    return PendingRows([this, &route, rows, padded, all, work = std::move(work)] {
      if (work) work->wait();
      const at::Tensor dense = sized(all, sum(route.rank_tokens));
      int64_t first = 0;
      for (int64_t rank = 0; rank < at_.ranks; ++rank) {
        const int64_t count = route.rank_tokens[rank];
        dense.narrow(0, first, count).copy_(all.narrow(0, rank * rows, count));
        first += count;
      }
      return dense;
    });
  }

  // The sum over the ranks of dense [all T, ...], this rank's tokens of it.
  at::Tensor scatter(const ExpertRoute& route, const at::Tensor& dense) const {
    const int64_t rows = most(route);
    const at::Tensor padded = sized(dense, rows * at_.ranks).zero_();
    int64_t first = 0;
    for (int64_t rank = 0; rank < at_.ranks; ++rank) {
      const int64_t count = route.rank_tokens[rank];
      padded.narrow(0, rank * rows, count).copy_(dense.narrow(0, first, count));
      first += count;
    }
    const at::Tensor mine = sized(dense, rows);
    if (rows > 0) group_->reduce_scatter({mine}, {padded}, ReduceOp::sum)->wait();
    return mine.narrow(0, 0, route.tokens);
  }

  GroupPtr group_;
  ExpertPlacement at_;
};

}  // namespace

int64_t ExpertRoute::rows() const {
  return sum(expert_rows);
}

ExpertExchange parse_expert_exchange(const std::string& name) {
  if (name == "all_to_all") return ExpertExchange::all_to_all;
  if (name == "all_gather") return ExpertExchange::all_gather;
  throw Error(Code::argument,
              cat("expert exchange \"", name, "\" is not known: all_to_all and all_gather are"));
}

ExpertDispatchPtr make_expert_dispatch(const GroupPtr& group, const ExpertPlacement& placement,
                                       ExpertExchange exchange) {
  TESSERA_CHECK(placement.ranks >= 1 && placement.experts % placement.ranks == 0, argument,
                "ep=", placement.ranks, " does not divide the number of experts, ", placement.experts);
  if (exchange == ExpertExchange::all_gather && placement.ranks > 1) {
    return std::make_shared<AllGatherDispatch>(group, placement);
  }
  return std::make_shared<AllToAllDispatch>(group, placement);
}

}  // namespace tessera
