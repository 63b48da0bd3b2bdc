// Documents ready for batches (ids and shifted labels), in memory or in a file, addressed by number.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/long_documents.h"

namespace tessera {

struct DocumentView {
  std::span<const int32_t> tokens;
  std::span<const int32_t> labels;  ///< shifted: labels[t] is what tokens[t] is to predict, or -100
};

/// What became of the rows read. Counts are over the whole data, not this rank's part.
struct PrepareCounts {
  int64_t rows = 0;        ///< rows read, bad ones included
  int64_t bad_rows = 0;    ///< skipped under data.on_error=skip
  int64_t dropped = 0;     ///< documents too long for a row, or of a group that is left out
  int64_t truncated = 0;   ///< documents cut to fit
  int64_t split = 0;       ///< cut into several documents
  int64_t unlabelled = 0;  ///< pieces of split documents left out because they have no label
  int64_t tokens = 0;      ///< of the documents kept
  int64_t labels = 0;      ///< tokens with a label among them
};

/// Where each document begins and what is known about it without reading it.
struct DocumentIndex {
  std::vector<int64_t> offsets{0};  ///< in tokens, one more than documents
  std::vector<uint32_t> marks;      ///< of each document: 2 * tokens with a label, + 1 if continues()

  int64_t size() const { return static_cast<int64_t>(marks.size()); }
};

/// Immutable once built; any thread may read. The index is in memory, the documents there or in a file.
class DocumentStore {
 public:
  virtual ~DocumentStore() = default;
  int64_t size() const { return index_.size(); }
  int64_t length(int64_t document) const { return index_.offsets[document + 1] - index_.offsets[document]; }
  /// Tokens of the document that have a label.
  int64_t labels(int64_t document) const { return index_.marks[document] >> 1; }
  /// Whether the document is a further piece of the row that its predecessor is of. Plain texts have no rows.
  bool continues(int64_t document) const { return (index_.marks[document] & 1) != 0; }
  /// The document, read into `scratch` if it is not in memory: valid until either of them changes. Throws
  /// Error(io | format) for a file that is no longer what it was.
  DocumentView document(int64_t document, std::vector<int32_t>& scratch) const {
    const auto count = static_cast<size_t>(length(document));
    const std::span<const int32_t> both = read(2 * index_.offsets[document], 2 * count, scratch);
    return {both.first(count), both.last(count)};
  }
  const PrepareCounts& counts() const { return counts_; }

 protected:
  DocumentStore(DocumentIndex index, const PrepareCounts& counts)
      : index_(std::move(index)), counts_(counts) {}

 private:
  /// Part of the data: of each document its tokens, then its labels.
  virtual std::span<const int32_t> read(int64_t begin, size_t count, std::vector<int32_t>& scratch) const = 0;

  DocumentIndex index_;
  PrepareCounts counts_;
};

/// Takes the data of a store while it is built, so that it need not be held in memory.
using DataSink = std::function<void(std::span<const int32_t> data)>;

/// Collects documents and applies the rule for over-long ones. Not thread-safe.
class DocumentStoreBuilder {
 public:
  DocumentStoreBuilder(int64_t seq_len, LongDocuments rule, DataSink sink = {},
                       const DocumentGroups& groups = {})
      : seq_len_(seq_len), rule_(rule), sink_(std::move(sink)), groups_(groups) {
    check_groups(groups_, seq_len_);
  }

  /// Adds one document; labels in the positions of the tokens, already checked. Throws Error(format) under
  /// the rule error. The documents of a group are held until it is complete: together they are dropped, cut
  /// (the longer ones, to the same length) or an error when they do not fit into one row.
  void add(std::span<const int32_t> tokens, std::span<const int32_t> labels) { add(tokens, labels, rule_); }
  void add(std::span<const int32_t> tokens, std::span<const int32_t> labels, LongDocuments rule);
  /// Throws what adding documents of these lengths one after the other would throw for their lengths, and
  /// adds none.
  void check_fit(const std::vector<int64_t>& lengths) const;
  /// A plain text in parts, split where it is longer than seq_len: its pieces stand for themselves, not for
  /// one row.
  void extend_text(std::span<const int32_t> tokens);
  void end_text();
  /// Counts a row that brought no document. Its group is left out with it, and the others of it count as
  /// dropped.
  void add_bad_row();
  int64_t size() const { return index_.size(); }
  const PrepareCounts& counts() const { return counts_; }
  /// Throws Error(argument) unless the documents made whole groups.
  void check_complete() const;
  /// A store in memory. The builder is spent afterwards, unless check_complete() threw.
  std::shared_ptr<const DocumentStore> finish();
  /// With a sink: hands over the rest of the data. The builder is spent afterwards.
  DocumentIndex finish_index();

 private:
  enum class Part { whole, piece };
  /// Labels are shifted here; `next_label` is that of the last token. False: left out.
  bool append(std::span<const int32_t> tokens, std::span<const int32_t> labels, Part part,
              int32_t next_label);

  struct Held {
    std::vector<int32_t> tokens, labels;  ///< none: a bad row stood here
  };
  void add_one(std::span<const int32_t> tokens, std::span<const int32_t> labels, LongDocuments rule);
  void add_held(LongDocuments rule);
  [[noreturn]] void refuse_group(const std::vector<int64_t>& lengths) const;
  [[noreturn]] void refuse_document(int64_t length) const;

  /// Takes `count` tokens from the front of the text as a piece.
  void append_text_piece(size_t count, int32_t next_label);

  int64_t seq_len_;
  LongDocuments rule_;
  DataSink sink_;
  DocumentGroups groups_;
  std::vector<Held> held_;  ///< of a group that is not complete
  int64_t seen_ = 0;        ///< documents added, those of bad rows included
  DocumentIndex index_;
  std::vector<int32_t> data_;  ///< what the sink has not got yet
  std::vector<int32_t> text_;  ///< of a plain text what is no piece yet
  bool text_split_ = false;
  PrepareCounts counts_;
};

}  // namespace tessera
