// Builds a PackedBatch from documents: labels shifted, each document aligned, each row padded to its
// capacity.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/packed_batch.h"

namespace tessera {

/// How documents are laid out in a row.
struct BatchLayout {
  int64_t cp = 1;        ///< context-parallel size: cp > 1 splits each document into 2*cp chunks
  int64_t multiple = 1;  ///< further alignment of each document (kernels, sequence parallelism)
  int64_t capacity = 0;  ///< tokens of a row; 0: rows are as long as their documents
  int64_t pad_token = 0;

  /// lcm(cp > 1 ? 2*cp : 1, multiple): the padded length of every document is a multiple of it.
  int64_t alignment() const;
  int64_t aligned(int64_t length) const;
  /// Throws Error(argument) unless all fields are positive and the capacity is a multiple of the alignment.
  /// Without the latter a document that fits before its alignment would not fit after it.
  void check() const;
};

/// One document as its owner holds it, labels in the positions of the tokens (labels[t] is tokens[t] or
/// -100).
struct Document {
  std::vector<int64_t> tokens;
  std::vector<int64_t> labels;
};

/// Labels in transformers' positions to the labels of PackedBatch: out[t] = labels[t+1], the last is ignored.
std::vector<int32_t> shift_labels(std::span<const int32_t> labels);

/// Collects documents row by row. Not thread-safe. Ids are int32 because vocabularies are.
class BatchBuilder {
 public:
  explicit BatchBuilder(const BatchLayout& layout);

  /// Appends one document to the current row; `shifted_labels` is as long as `tokens`. The label of the last
  /// token may be a real one: a document cut in two loses none. Throws Error(argument) if the document is
  /// empty or does not fit into the rest of the row.
  void add(std::span<const int32_t> tokens, std::span<const int32_t> shifted_labels);
  /// Pads the current row to the capacity. The padding belongs to the slot of the row's last document, as in
  /// the THD format of Transformer Engine; a row without documents gets one ignored token. Without a capacity
  /// only the latter happens.
  void end_row();
  bool row_empty() const { return row_documents_ == 0; }
  /// Tokens left in the current row; without a capacity the largest int64.
  int64_t room() const;

  /// Ends an open row and hands out the batch; the builder is empty afterwards.
  PackedBatch finish();

 private:
  void pad_to(int64_t length);

  BatchLayout layout_;
  int64_t alignment_ = 1;
  int64_t row_start_ = 0;
  int64_t row_documents_ = 0;
  int64_t rows_ = 0;
  int64_t max_seqlen_ = 0;
  int64_t label_count_ = 0;
  std::vector<int64_t> tokens_, labels_, positions_;
  std::vector<int32_t> cu_seqlens_{0}, cu_seqlens_padded_{0};
};

/// One row per element of `rows`, each a list of documents with labels in the positions of the tokens.
PackedBatch batch_from_documents(const std::vector<std::vector<Document>>& rows, const BatchLayout& layout);

}  // namespace tessera
