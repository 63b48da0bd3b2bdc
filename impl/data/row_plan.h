// The rows of one epoch in their order: which documents, or pieces of documents, share a row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

/// `length` tokens of a document from `begin` on. Whole documents have begin 0 and their own length.
struct Piece {
  int64_t document = 0;
  int64_t begin = 0;
  int64_t length = 0;
  friend bool operator==(const Piece&, const Piece&) = default;
};

/// Row r holds pieces[offsets[r]] .. pieces[offsets[r+1]].
struct RowPlan {
  std::vector<int64_t> offsets{0};
  std::vector<Piece> pieces;

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  std::span<const Piece> row(int64_t r) const {
    return std::span(pieces).subspan(static_cast<size_t>(offsets[r]),
                                     static_cast<size_t>(offsets[r + 1] - offsets[r]));
  }
};

}  // namespace tessera
