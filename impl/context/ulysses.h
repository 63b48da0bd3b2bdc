// DeepSpeed-Ulysses (Jacobs et al., 2023): an all-to-all turns some tokens of all heads into all tokens of
// some heads; attention runs on those, and its output goes back the same way.
#pragma once

#include <memory>

#include "comm/group.h"
#include "context/attend.h"
#include "context/layout.h"

namespace tessera {

/// How key/value heads go to the ranks of a group. Query heads are dealt in equal, contiguous parts.
struct HeadSplit {
  int64_t q_heads;          ///< of each rank
  int64_t kv_heads;         ///< of each rank
  std::vector<int64_t> kv;  ///< [ranks * kv_heads]: the key/value head behind each head that travels
  bool copies = false;      ///< some key/value head goes to several ranks, or twice to one
};

/// With fewer key/value heads than ranks, or borders that do not fall together, heads are sent to every rank
/// that needs them, and their gradients are added up. Errors (argument): `ranks` does not divide q_heads, or
/// kv_heads does not divide q_heads.
HeadSplit split_heads(int64_t q_heads, int64_t kv_heads, int ranks);

/// `tokens` of each rank of the group, `merged` of all of them. `inner` attends over the merged tokens of
/// this group, padded to `inner_tokens`, for the heads of this rank: alone, or together with other groups.
std::unique_ptr<ContextPlan> make_ulysses_plan(GroupPtr group, int64_t tokens, MergedPieces merged,
                                               int64_t inner_tokens, std::unique_ptr<ContextPlan> inner);

}  // namespace tessera
