// Spans of attention cut into calls of a varlen kernel: pure arithmetic, testable without a GPU.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/attention.h"

namespace tessera::kernels {

/// Sequences laid end to end in a slice of the queries and a slice of the keys, as FlashAttention's varlen
/// interface takes them. With lq and lk the lengths of a sequence, its query i sees its key j when
///     i + lk - lq - window_left <= j <= i + lk - lq + window_right        (-1: no bound).
/// What lies between documents is a sequence with queries alone or keys alone.
struct VarlenCall {
  int64_t q_begin = 0, k_begin = 0;       ///< first row of the slices
  std::vector<int32_t> cu_q{0}, cu_k{0};  ///< boundaries within the slices, [n + 1]
  int64_t max_q = 0, max_k = 0;
  int64_t window_left = -1;
  int64_t window_right = 0;
  bool has_gaps = false;  ///< some queries or keys of the slices belong to no span

  int64_t q_len() const { return cu_q.back(); }
  int64_t k_len() const { return cu_k.back(); }
};

/// Sequences of a call: kernels launch a row of blocks for each along the grid's second dimension.
inline constexpr int64_t kMostSequences = 65535;

/// Calls that together let every query see exactly the keys that `spans` and `window` say. A query with keys
/// takes part in one call; every such query sees at least one key there. One call where the spans are
/// documents; more where spans share keys (context parallelism). The spans are valid and do not overlap in
/// their queries.
std::vector<VarlenCall> plan_varlen(const std::vector<AttentionSpan>& spans, int64_t window);

/// The same call over all of `queries` and `keys` rows, where what lies before and behind its slices is gaps;
/// nothing where that were too many sequences.
std::optional<VarlenCall> covering(const VarlenCall& call, int64_t queries, int64_t keys);

/// The length of all sequences, where a call is whole documents of one length, each causal within itself;
/// otherwise 0.
int64_t common_length(const VarlenCall& call);

}  // namespace tessera::kernels
