// Attention over gathered keys and values, as in Llama 3 (Dubey et al., 2024): a rank gathers those of all
// ranks, some heads at a time, and computes its own queries in one go.
#pragma once

#include <memory>

#include "comm/group.h"
#include "context/attend.h"
#include "context/layout.h"

namespace tessera {

struct GatherSource {
  std::vector<ContextPiece> queries;  ///< of this rank
  MergedPieces keys;                  ///< of all ranks; `order` counts in the gathered tensors
  int64_t tokens = 0;                 ///< of each rank, with padding
};

/// `heads_stride` key heads travel at a time while those before them are computed; 0: all at once. Any layout
/// will do: gathered keys are put into the order of documents. Gradients of keys and values are summed in
/// float32 by a reduce-scatter.
std::unique_ptr<ContextPlan> make_all_gather_plan(GroupPtr group, GatherSource source, int64_t heads_stride);

}  // namespace tessera
