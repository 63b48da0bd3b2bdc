// Documents ready for batches (ids and shifted labels), in memory or mapped from a file, addressed by number.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tessera {

struct DocumentView {
  std::span<const int32_t> tokens;
  std::span<const int32_t> labels;  ///< shifted: labels[t] is what tokens[t] is to predict, or -100
};

/// What became of the rows read. Counts are over the whole data, not this rank's part.
struct PrepareCounts {
  int64_t rows = 0;        ///< rows read, bad ones included
  int64_t bad_rows = 0;    ///< skipped under data.on_error=skip
  int64_t dropped = 0;     ///< longer than seq_len and dropped
  int64_t truncated = 0;   ///< cut at seq_len
  int64_t split = 0;       ///< cut into several documents
  int64_t unlabelled = 0;  ///< pieces of split documents left out because they have no label
  int64_t tokens = 0;      ///< of the documents kept
  int64_t labels = 0;      ///< tokens with a label among them
};

/// Immutable once built; any thread may read.
class DocumentStore {
 public:
  int64_t size() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t length(int64_t document) const { return offsets_[document + 1] - offsets_[document]; }
  DocumentView document(int64_t document) const {
    const auto begin = static_cast<size_t>(2 * offsets_[document]);
    const auto count = static_cast<size_t>(length(document));
    return {data_.subspan(begin, count), data_.subspan(begin + count, count)};
  }
  /// Whether the document is a further piece of the row that its predecessor is of. Plain texts have no rows.
  bool continues(int64_t document) const { return continues_[document] != 0; }
  const PrepareCounts& counts() const { return counts_; }

 private:
  friend class DocumentStoreBuilder;
  friend class TokenCacheFile;
  std::span<const int64_t> offsets_;    ///< in tokens, one more than documents
  std::span<const int32_t> data_;       ///< of each document its tokens, then its labels
  std::span<const uint8_t> continues_;  ///< one a document
  PrepareCounts counts_;
  std::shared_ptr<const void> owner_;  ///< the vectors or the mapping behind the spans
};

enum class LongDocuments { drop, truncate, split, error };
/// `auto` is split for format text and truncate for the others.
LongDocuments parse_long_documents(const std::string& name, const std::string& format = "tokens");

/// Collects documents and applies the rule for over-long ones. Not thread-safe.
class DocumentStoreBuilder {
 public:
  DocumentStoreBuilder(int64_t seq_len, LongDocuments rule) : seq_len_(seq_len), rule_(rule) {}

  /// Adds one row; labels in the positions of the tokens, already checked. Throws Error(format) under the
  /// rule error.
  void add(std::span<const int32_t> tokens, std::span<const int32_t> labels) { add(tokens, labels, rule_); }
  void add(std::span<const int32_t> tokens, std::span<const int32_t> labels, LongDocuments rule);
  /// Adds a plain text, split where it is longer than seq_len: its pieces stand for themselves, not for one
  /// row.
  void add_text(std::span<const int32_t> tokens);
  void add_bad_row();
  int64_t size() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  const PrepareCounts& counts() const { return counts_; }
  /// The builder is spent afterwards.
  std::shared_ptr<const DocumentStore> finish();

 private:
  enum class Part { whole, piece };
  /// Labels are shifted here; `next_label` is that of the last token. False: left out.
  bool append(std::span<const int32_t> tokens, std::span<const int32_t> labels, Part part,
              int32_t next_label);

  int64_t seq_len_;
  LongDocuments rule_;
  std::vector<int64_t> offsets_{0};
  std::vector<int32_t> data_;
  std::vector<uint8_t> continues_;
  PrepareCounts counts_;
};

}  // namespace tessera
