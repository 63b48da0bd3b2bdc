// Context parallel: one rank's part in splitting the tokens of a batch over the cp axis of the mesh.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "comm/group.h"
#include "comm/metered_group.h"
#include "context/attend.h"
#include "context/layout.h"
#include "mesh/device_mesh.h"

namespace tessera {

enum class ContextExchange : int {
  ring = 0,                ///< keys and values travel from rank to rank
  all_gather = 1,          ///< keys and values are gathered
  ulysses = 2,             ///< all-to-all between tokens and heads
  ulysses_ring = 3,        ///< all-to-all inside groups of `ulysses` ranks, a ring across them
  ulysses_all_gather = 4,  ///< the same with a gather across them
};
std::string_view context_exchange_name(ContextExchange exchange);

struct ContextOptions {
  ContextExchange exchange = ContextExchange::ring;
  ContextLayoutKind layout = ContextLayoutKind::zigzag;
  int64_t ulysses = 0;         ///< ranks of one all-to-all under ulysses_ring and ulysses_all_gather
  int64_t heads_k_stride = 0;  ///< all_gather: key heads that travel at a time; 0: all
};

/// What Trainer refuses before anything is connected. `cp` and `tp` are mesh degrees, heads those of the
/// whole model. Errors (argument) name option and value.
void check_context_options(const ContextOptions& options, int64_t cp, int64_t tp, int64_t heads,
                           int64_t kv_heads);

/// One micro-batch on one rank.
struct ContextBatch {
  PackedBatch local;                  ///< what the rank computes on; no tokens when the batch has none
  ContextLayout layout;               ///< of all ranks
  std::unique_ptr<ContextPlan> plan;  ///< for Microbatch::context
};

/// Tokens of `local` that are a document's, int64, ascending; undefined when there is no padding.
at::Tensor document_tokens(const ContextBatch& batch, int rank);

/// One a rank. Used by the rank's thread.
class ContextParallel {
 public:
  /// Collective over the world: makes the groups of ulysses_ring. The mesh's cp degree is at least 1.
  /// `exposed`, if any, counts the time that exchanges cost.
  ContextParallel(const DeviceMesh& mesh, const ContextOptions& options, const ExposedTimePtr& exposed = {});

  int size() const { return group_->size(); }
  int rank() const { return group_->rank(); }
  const GroupPtr& group() const { return group_; }

  /// Every rank of the cp group passes the same batch. Communicates nothing. Each rank's token count becomes
  /// a multiple of `multiple`.
  ContextBatch shard(const PackedBatch& batch, int64_t multiple = 1) const;

  /// Collective over the cp group. local [local_tokens, ...] of each rank to [tokens, ...] in the order of
  /// the batch; rows of its padding are zero.
  at::Tensor gather(const at::Tensor& local, const ContextLayout& layout, int64_t tokens) const;
  /// The backward of gather: grad [tokens, ...] to [local_tokens, ...]. With `sum` the ranks' gradients
  /// differ and add up (collective); without, all ranks hold the same gradient, and each takes its rows.
  at::Tensor gather_backward(const at::Tensor& grad, const ContextLayout& layout, bool sum) const;

 private:
  std::unique_ptr<ContextPlan> make_plan(const ContextLayout& layout) const;

  ContextOptions options_;
  GroupPtr group_;
  GroupPtr inner_;  ///< neighbours that exchange heads
  GroupPtr outer_;  ///< ranks of the same place in their inner groups
};

}  // namespace tessera
