// The way of tokens to the ranks that hold their experts, and of the results back (GShard: Lepikhin et al.,
// 2020). Both directions serve forward and backward: the gradient of dispatch is collect, and the other way
// round.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/group.h"
#include "kernels/expert_rows.h"

namespace tessera {

/// Experts 0..count cut into equal runs over the ranks of a group.
struct ExpertPlacement {
  int64_t experts = 0;
  int64_t ranks = 1;
  int64_t rank = 0;

  int64_t local() const { return experts / ranks; }
  int64_t first() const { return rank * local(); }
};

/// Where the tokens of one micro-batch go. "Rows" are pairs of a token and one of its experts; on the side of
/// the experts they are sorted by expert, then by the rank they come from, then by token.
struct ExpertRoute {
  int64_t tokens = 0;                ///< of this rank
  std::vector<int64_t> expert_rows;  ///< rows of each of this rank's experts, whoever sent them
  kernels::ExpertOrder order;        ///< all_to_all: own pairs by expert; all_gather: all ranks' pairs
  std::vector<int64_t> send;         ///< all_to_all: rows to each rank
  std::vector<int64_t> receive;      ///< all_to_all: rows from each rank
  at::Tensor arrival;                ///< all_to_all: int64, the received row at each sorted place
  at::Tensor place;                  ///< the inverse of arrival
  std::vector<int64_t> rank_tokens;  ///< all_gather: tokens of each rank
  int64_t rows() const;
};

/// Rows under way to their experts.
class PendingRows {
 public:
  explicit PendingRows(std::function<at::Tensor()> finish) : finish_(std::move(finish)) {}
  /// Once; lets go of what travelled.
  at::Tensor wait() { return std::exchange(finish_, nullptr)(); }

 private:
  std::function<at::Tensor()> finish_;
};

/// Every function is collective over the group; ranks without tokens take part.
class ExpertDispatch {
 public:
  virtual ~ExpertDispatch() = default;

  /// True when nothing leaves this rank: rows can be had again for no more than a copy.
  virtual bool local() const = 0;
  /// Routes experts int64 [T, k], -1 for pairs that go nowhere. `counts` undefined: the ranks tell each other
  /// how many rows go where, which is written to it as a tensor in host memory; given what an earlier call
  /// wrote, nothing is exchanged and no device waited for.
  virtual ExpertRoute plan(const at::Tensor& experts, at::Tensor& counts) const = 0;
  /// Values [T, H] of tokens -> [rows, H] at this rank's experts.
  at::Tensor dispatch(const ExpertRoute& route, const at::Tensor& values) const {
    return start_dispatch(route, values).wait();
  }
  /// `route` outlives the result.
  virtual PendingRows start_dispatch(const ExpertRoute& route, const at::Tensor& values) const = 0;
  /// The sum over a token's experts of rows [rows, H], each times its weight (float32 [T, k] or undefined: 1)
  /// -> [T, H].
  virtual at::Tensor collect(const ExpertRoute& route, const at::Tensor& rows,
                             const at::Tensor& weights) const = 0;
  /// One number per pair, float32 [T, k] -> [rows], and back: 0 for pairs that went nowhere.
  virtual at::Tensor dispatch_pairs(const ExpertRoute& route, const at::Tensor& pairs) const = 0;
  virtual at::Tensor collect_pairs(const ExpertRoute& route, const at::Tensor& rows) const = 0;
};
using ExpertDispatchPtr = std::shared_ptr<const ExpertDispatch>;

/// How tokens travel. all_to_all sends each row to one rank; all_gather shows all tokens to all ranks, which
/// for few ranks or many experts per token moves less and has no uneven parts.
enum class ExpertExchange : int { all_to_all = 0, all_gather = 1 };
ExpertExchange parse_expert_exchange(const std::string& name);

/// `group` has placement.ranks ranks, or is null for one.
ExpertDispatchPtr make_expert_dispatch(const GroupPtr& group, const ExpertPlacement& placement,
                                       ExpertExchange exchange);

}  // namespace tessera
