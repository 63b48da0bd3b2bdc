// Which tokens of a batch each rank of a context-parallel group computes: pure functions of the batch's
// boundaries and the size of the group.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/packed_batch.h"

namespace tessera {

/// With 2 documents, A of 8 and B of 4 tokens, and 2 ranks:
///
///     zigzag    rank 0: A0 A1 A6 A7 B0 B3    rank 1: A2 A3 A4 A5 B1 B2
///     document  rank 0: A0 A1 A2 A3 B0 B1    rank 1: A4 A5 A6 A7 B2 B3
///     row       rank 0: A0 A1 A2 A3 A4 A5    rank 1: A6 A7 B0 B1 B2 B3
enum class ContextLayoutKind : int {
  zigzag = 0,    ///< 2*size chunks per document; rank r has chunks r and 2*size-1-r: causal work is equal
  document = 1,  ///< one chunk per document and rank: causal work grows with the rank
  row = 2,       ///< one chunk of the whole batch per rank, across documents
};
std::string_view context_layout_name(ContextLayoutKind kind);

/// Neighbouring tokens of one document that are neighbours on their rank too.
struct ContextPiece {
  int64_t document;
  int64_t position;  ///< of the first token, in its document
  int64_t begin;     ///< of the first token, on its rank
  int64_t length;    ///< at least 1

  int64_t end() const { return position + length; }
};

/// Only real tokens are dealt out; the batch's own padding is dropped. Documents need no alignment: their
/// chunks differ by at most one token, and longer ones fall on the ranks in turn. Every rank has the same
/// number of tokens, the last few of which may be padding.
struct ContextLayout {
  struct Document {
    int64_t begin;   ///< in the batch
    int64_t length;  ///< real tokens
  };
  std::vector<Document> documents;
  std::vector<std::vector<ContextPiece>>
      pieces;                ///< by rank; ascending in begin, and in (document, position)
  int64_t local_tokens = 0;  ///< of each rank, with padding

  int size() const { return static_cast<int>(pieces.size()); }
};

/// `multiple`: each rank's token count is rounded up to it (sequence parallelism). Errors (argument): a size
/// or a multiple that is not positive; boundaries that do not grow or pass the end.
ContextLayout make_context_layout(const PackedBatch& batch, ContextLayoutKind kind, int size,
                                  int64_t multiple = 1);

/// int64 [local_tokens]: the place in the batch of each of the rank's tokens, -1 for padding.
at::Tensor context_indices(const ContextLayout& layout, int rank);
/// The inverse. int64 [tokens]: the place of each of the batch's tokens in the ranks' tokens laid end to end
/// (rank * local_tokens + place), -1 for padding of the batch.
at::Tensor context_inverse(const ContextLayout& layout, int64_t tokens);

/// The rank's part of `batch`, from which `layout` was made. Labels and positions are those of the batch, so
/// nothing is lost at the borders of chunks; max_seqlen stays that of the batch, because positions do. One
/// document per document of which the rank has tokens; padding belongs to the slot of the last.
PackedBatch shard_batch(const PackedBatch& batch, const ContextLayout& layout, int rank);

/// The tokens of several ranks, put into the order of documents.
struct MergedPieces {
  std::vector<ContextPiece> pieces;  ///< `begin` counts in the merged order
  at::Tensor order;       ///< int64 [n]: merged token i is token order[i] of the ranks laid end to end
  bool in_place = false;  ///< order is 0, 1, 2, ...
};
/// `count` ranks of the layout, from rank `first` on.
MergedPieces merge_pieces(const ContextLayout& layout, int first, int count);
/// The layout as groups of `count` neighbouring ranks see it: rank g of the result has the tokens of ranks
/// g*count ... g*count+count-1, merged. `count` divides the size.
ContextLayout merge_ranks(const ContextLayout& layout, int count);

}  // namespace tessera
