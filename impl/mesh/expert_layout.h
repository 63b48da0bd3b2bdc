// The mesh of experts: the ranks of a pipeline stage counted through once more as (ep_shard, ep), ep fastest.
// Pure arithmetic, like Mesh.
#pragma once

#include <cstdint>
#include <vector>

#include "mesh/mesh.h"

namespace tessera {

/// How one rank holds experts: `ep` ranks share them out, and the `ep_shard` ranks that hold the same ones
/// cut each of their parameters by rows (FSDP over ep_shard: GShard, 2020; NeMo AutoModel's MoE mesh).
///
/// The ranks counted are those of dp_shard, cp and, unless experts' widths are cut over tp, tp. With
/// dp_replicate there are as many copies; where ep does not divide the ranks of one copy, all copies are
/// counted through together and there is one.
struct ExpertLayout {
  int64_t ep = 1;
  int64_t ep_index = 0;
  int64_t shards = 1;  ///< ep_shard
  int64_t shard_index = 0;
  std::vector<int> ep_ranks;       ///< this rank's ep group, by ep_index
  std::vector<int> shard_ranks;    ///< that hold the same experts, by shard_index
  std::vector<int> replica_ranks;  ///< that hold the same elements; this rank alone when there is one copy
};

/// Errors (argument): ep that divides neither dp_shard*cp*tp nor dp*cp*tp (without tp when `split_width`).
ExpertLayout expert_layout(const Mesh& mesh, int rank, bool split_width);

/// ExpertLayout::shards, which all ranks have in common. Errors: the same.
int64_t expert_shard_count(const Mesh& mesh, bool split_width);

}  // namespace tessera
