// What a dataset makes of documents of given lengths, without the documents: lengths in, rows out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace tessera {

/// A document, or a part of it, in a row.
struct RowPiece {
  int64_t row = 0;
  int64_t document = 0;
  int64_t begin = 0;   ///< its first token in the document
  int64_t length = 0;  ///< without alignment
  friend bool operator==(const RowPiece&, const RowPiece&) = default;
};

/// The rows of the first epoch, in their order and each in the order of its documents: over-long documents by
/// data.long_documents, alignment, packing, groups, shuffling, order and balance. Under `streaming` each
/// `stream_buffer` documents are packed apart. Options about files, formats and weights are not looked at.
/// Throws Error(argument) naming an option, or a length outside [1, 2^40].
std::vector<RowPiece> plan_rows(std::span<const int64_t> lengths, const DatasetOptions& options);

}  // namespace tessera
