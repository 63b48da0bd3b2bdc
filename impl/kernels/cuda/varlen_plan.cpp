// From diagonals, which spans may have anywhere, to the one diagonal of a varlen kernel: that of the last
// query and the last key.
#include "kernels/cuda/varlen_plan.h"

#include <algorithm>

namespace tessera::kernels {
namespace {

/// Queries and keys of one sequence, with the bounds of its call.
struct Piece {
  int64_t q_begin, q_len, k_begin, k_len;
  int64_t window_left, window_right;
};

/// The part of a span with a causal bound: the keys end where the last query's diagonal does.
void add_bounded(AttentionSpan s, int64_t window, std::vector<Piece>& pieces) {
  s.q_len = std::min(s.q_len, s.k_len - s.diagonal);
  if (s.diagonal < 0) {  // the first queries see nothing
    s.q_begin -= s.diagonal;
    s.q_len += s.diagonal;
    s.diagonal = 0;
  }
  if (s.q_len <= 0) return;
  s.k_len = s.q_len + s.diagonal;
  if (window > 0 && s.diagonal - window + 1 > 0) {  // no query sees the first keys
    const int64_t unseen = s.diagonal - window + 1;
    s.k_begin += unseen;
    s.k_len -= unseen;
  }
  pieces.push_back({s.q_begin, s.q_len, s.k_begin, s.k_len, window > 0 ? window - 1 : -1, 0});
}

/// The queries after it, which see all keys to the end.
void add_unbounded(AttentionSpan s, int64_t window, std::vector<Piece>& pieces) {
  const int64_t first = std::clamp<int64_t>(s.k_len - s.diagonal, 0, s.q_len);
  s.q_begin += first;
  s.q_len -= first;
  s.diagonal += first;
  int64_t left = -1;
  if (window > 0) {
    const int64_t oldest = s.diagonal - window + 1;  // the first key that the first query sees
    s.q_len = std::min(s.q_len, s.k_len - oldest);   // later queries see nothing
    const int64_t unseen = std::max<int64_t>(0, oldest);
    s.k_begin += unseen;
    s.k_len -= unseen;
    left = s.k_len - s.q_len - (oldest - unseen);
  }
  if (s.q_len <= 0) return;
  pieces.push_back({s.q_begin, s.q_len, s.k_begin, s.k_len, left, -1});
}

void append(VarlenCall& call, int64_t q_len, int64_t k_len) {
  call.cu_q.push_back(static_cast<int32_t>(call.cu_q.back() + q_len));
  call.cu_k.push_back(static_cast<int32_t>(call.cu_k.back() + k_len));
  call.max_q = std::max(call.max_q, q_len);
  call.max_k = std::max(call.max_k, k_len);
}

bool fits(const VarlenCall& call, const Piece& p) {
  constexpr int64_t kWithGaps = 3;  // sequences that a piece can add
  const auto sequences = static_cast<int64_t>(call.cu_q.size()) - 1;
  return sequences + kWithGaps <= kMostSequences && call.window_left == p.window_left &&
         call.window_right == p.window_right && call.q_begin + call.q_len() <= p.q_begin &&
         call.k_begin + call.k_len() <= p.k_begin;
}

}  // namespace

std::vector<VarlenCall> plan_varlen(const std::vector<AttentionSpan>& spans, int64_t window) {
  std::vector<Piece> pieces;
  for (const AttentionSpan& s : spans) {
    if (s.q_len == 0 || s.k_len == 0) continue;
    add_bounded(s, window, pieces);
    add_unbounded(s, window, pieces);
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.q_begin < b.q_begin; });
  std::vector<VarlenCall> calls;
  for (const Piece& p : pieces) {
    auto call = std::find_if(calls.begin(), calls.end(), [&](const VarlenCall& c) { return fits(c, p); });
    if (call == calls.end()) {
      VarlenCall fresh;
      fresh.q_begin = p.q_begin;
      fresh.k_begin = p.k_begin;
      fresh.window_left = p.window_left;
      fresh.window_right = p.window_right;
      call = calls.insert(calls.end(), fresh);
    }
    const int64_t gap_q = p.q_begin - (call->q_begin + call->q_len());
    const int64_t gap_k = p.k_begin - (call->k_begin + call->k_len());
    if (gap_q > 0) append(*call, gap_q, 0);
    if (gap_k > 0) append(*call, 0, gap_k);
    call->has_gaps |= gap_q > 0 || gap_k > 0;
    append(*call, p.q_len, p.k_len);
  }
  return calls;
}

std::optional<VarlenCall> covering(const VarlenCall& call, int64_t queries, int64_t keys) {
  constexpr int64_t kMostPieces = 1024;
  if (static_cast<int64_t>(call.cu_q.size()) + 4 * kMostPieces > kMostSequences) return {};
  VarlenCall all;
  all.window_left = call.window_left;
  all.window_right = call.window_right;
  all.has_gaps = call.has_gaps;
  // In pieces no longer than the call's sequences, where that makes few enough: its grid follows from the
  // longest.
  const auto add_gap = [&](int64_t q, int64_t k) {
    all.has_gaps |= q > 0 || k > 0;
    const int64_t q_piece = std::max(call.max_q, (q + kMostPieces - 1) / kMostPieces);
    const int64_t k_piece = std::max(call.max_k, (k + kMostPieces - 1) / kMostPieces);
    for (; q > 0; q -= q_piece) append(all, std::min(q, q_piece), 0);
    for (; k > 0; k -= k_piece) append(all, 0, std::min(k, k_piece));
  };
  add_gap(call.q_begin, call.k_begin);
  for (size_t n = 0; n + 1 < call.cu_q.size(); ++n) {
    append(all, call.cu_q[n + 1] - call.cu_q[n], call.cu_k[n + 1] - call.cu_k[n]);
  }
  add_gap(queries - call.q_begin - call.q_len(), keys - call.k_begin - call.k_len());
  return all;
}

int64_t common_length(const VarlenCall& call) {
  const int64_t length = call.cu_q.size() > 1 ? call.cu_q[1] : 0;
  const bool narrow = call.window_left >= 0 && call.window_left < length - 1;
  if (call.has_gaps || narrow || call.window_right != 0) return 0;
  for (size_t n = 0; n < call.cu_q.size(); ++n) {
    const int64_t end = static_cast<int64_t>(n) * length;
    if (call.cu_q[n] != end || call.cu_k[n] != end) return 0;
  }
  return length;
}

}  // namespace tessera::kernels
