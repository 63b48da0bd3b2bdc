// Ring attention (Liu et al., 2023): keys and values travel round the ranks while each computes on those it
// holds; partial results are merged by their log-sum-exp.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "comm/group.h"
#include "context/attend.h"
#include "context/spans.h"

namespace tessera {

/// Pieces of each rank of the ring, in order of ring rank; all hold `tokens` tokens, with padding. `ring` may
/// be null when there is one rank: then this is attention over the rank's own pieces.
std::unique_ptr<ContextPlan> make_ring_plan(GroupPtr ring, std::vector<std::vector<ContextPiece>> pieces,
                                            int64_t tokens);

}  // namespace tessera
