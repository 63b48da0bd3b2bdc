// Packers: document lengths in, packs out. Usable alone; datasets use them for data.packing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera {

/// How documents are put into packs. n documents, capacity L, B packs.
enum class Packer : int {
  /// Documents in order; a new pack whenever the next one does not fit. O(n).
  next_fit = 0,
  /// Documents in order; one that does not fit fills the pack and goes on in the next. O(n).
  next_fit_split = 1,
  /// Each document in order into the first pack with room; groups of documents apart, at most `bin_size`
  /// documents in a
  /// pack. The rules of Axolotl's multipack. O(n log B).
  first_fit = 2,
  /// First fit over the documents from long to short (Johnson 1974). O(n + B log B).
  ffd = 3,
  /// Best fit over the documents from long to short, on the histogram of lengths (Ding et al., "Fewer
  /// Truncations
  /// Improve Language Modeling", 2024). O(n + L).
  bfd = 4,
  /// From long to short into the emptiest pack, if it fits there. The rules of NeMo's "neat" packing. O(n +
  /// L).
  wfd = 5,
  /// Fills packs exactly by a bounded search (minimum bin slack: Gupta and Ho 1999), then repacks the worst
  /// ones until
  /// the lower bound or the end of `effort`.
  optimal = 6,
};

Packer parse_packer(const std::string& name);
const char* packer_name(Packer packer);
const std::vector<std::string>& packer_names();

struct PackOptions {
  Packer packer = Packer::bfd;
  int64_t capacity = 0;         ///< tokens of a pack, at most 2^24
  int64_t group_size = 100000;  ///< first_fit: documents of a group
  int64_t bin_size = 200;       ///< first_fit: most documents in a pack
  /// optimal: search steps of the second phase, some 5 * 10^7 a second. Counted, not timed, so that every
  /// rank and machine finds the same packing.
  int64_t effort = 100'000'000;
  int64_t seed = 0;     ///< optimal: which packs are repacked together
  int64_t threads = 0;  ///< 0: one per core. The result does not depend on it.
};

/// A part of a document.
struct Cut {
  int64_t begin = 0;
  int64_t length = 0;
  friend bool operator==(const Cut&, const Cut&) = default;
};

/// Pack p holds documents[offsets[p]] .. documents[offsets[p+1]].
struct Packing {
  std::vector<int64_t> offsets{0};
  std::vector<int64_t> documents;
  std::vector<Cut> cuts;  ///< beside `documents` if documents were split, else empty: all are whole

  int64_t packs() const { return static_cast<int64_t>(offsets.size()) - 1; }
  std::span<const int64_t> pack(int64_t p) const {
    return std::span(documents).subspan(static_cast<size_t>(offsets[p]),
                                        static_cast<size_t>(offsets[p + 1] - offsets[p]));
  }
};

/// Every document is in exactly one pack (under next_fit_split: every token), and no pack is over capacity.
/// Lengths are those to be laid out, alignment included. The result depends on `lengths` and `options` alone.
/// Throws Error(argument) naming the first length outside [1, capacity]; next_fit_split takes longer ones.
Packing pack(std::span<const int64_t> lengths, const PackOptions& options);

/// Packs groups of documents (preference pairs: group_offsets 0, 2, 4, ...) that must share a pack. Group g
/// is documents group_offsets[g] .. group_offsets[g+1]. next_fit_split is refused.
Packing pack_groups(std::span<const int64_t> lengths, std::span<const int64_t> group_offsets,
                    const PackOptions& options);

/// No packing without splitting has fewer packs: the larger of ceil(sum / capacity) and the bound L2 of
/// Martello and Toth (1990), which counts what cannot share a pack with the documents longer than half of it.
int64_t pack_lower_bound(std::span<const int64_t> lengths, int64_t capacity);

/// Sum of lengths / (packs * capacity).
double pack_efficiency(std::span<const int64_t> lengths, int64_t packs, int64_t capacity);

}  // namespace tessera
