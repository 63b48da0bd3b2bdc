// Builds document stores: shifting of labels and the rule for over-long documents.
#include "data/document_store.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "data/packed_batch.h"

namespace tessera {
namespace {
constexpr int32_t kIgnored = static_cast<int32_t>(kIgnoredLabel);
constexpr size_t kSinkEntries = size_t{1} << 21;

class MemoryStore : public DocumentStore {
 public:
  MemoryStore(DocumentIndex index, const PrepareCounts& counts, std::vector<int32_t> data)
      : DocumentStore(std::move(index), counts), data_(std::move(data)) {}

 private:
  std::span<const int32_t> read(int64_t begin, size_t count, std::vector<int32_t>&) const override {
    return std::span(data_).subspan(static_cast<size_t>(begin), count);
  }
  std::vector<int32_t> data_;
};
}  // namespace

bool DocumentStoreBuilder::append(std::span<const int32_t> tokens, std::span<const int32_t> labels, Part part,
                                  int32_t next_label) {
  const auto count =
      std::count_if(labels.begin() + 1, labels.end(), [](int32_t label) { return label != kIgnored; }) +
      (next_label != kIgnored ? 1 : 0);
  // A whole row stays: row k is document k. A piece of a longer one may go.
  if (count == 0 && part == Part::piece) {
    ++counts_.unlabelled;
    return false;
  }
  data_.insert(data_.end(), tokens.begin(), tokens.end());
  data_.insert(data_.end(), labels.begin() + 1, labels.end());
  data_.push_back(next_label);
  index_.offsets.push_back(index_.offsets.back() + static_cast<int64_t>(tokens.size()));
  index_.marks.push_back(static_cast<uint32_t>(count) << 1);
  counts_.tokens += static_cast<int64_t>(tokens.size());
  counts_.labels += count;
  if (sink_ && data_.size() >= kSinkEntries) {
    sink_(data_);
    data_.clear();
  }
  return true;
}

void DocumentStoreBuilder::add(std::span<const int32_t> tokens, std::span<const int32_t> labels,
                               LongDocuments rule) {
  if (groups_.documents == 1) return add_one(tokens, labels, rule);
  ++seen_;
  held_.push_back({{tokens.begin(), tokens.end()}, {labels.begin(), labels.end()}});
  if (static_cast<int64_t>(held_.size()) == groups_.documents) add_held(rule);
}

void DocumentStoreBuilder::add_held(LongDocuments rule) {
  std::vector<int64_t> lengths;
  for (const Held& held : held_)
    if (!held.tokens.empty()) lengths.push_back(static_cast<int64_t>(held.tokens.size()));
  const bool whole = lengths.size() == held_.size();
  const bool fits = whole && fit_together(lengths, seq_len_, groups_.alignment);
  if (whole && !fits && rule == LongDocuments::error) {
    // The last row is the bad one: add_bad_row() may take its place.
    held_.resize(held_.size() - static_cast<size_t>(groups_.documents_per_row));
    seen_ -= groups_.documents_per_row;
    refuse_group(lengths);
  }
  const std::vector<Held> group = std::exchange(held_, {});
  counts_.rows += groups_.documents / groups_.documents_per_row;
  if (!whole || (!fits && rule == LongDocuments::drop)) {
    counts_.dropped += static_cast<int64_t>(lengths.size());
    return;
  }
  TESSERA_CHECK(fits || rule == LongDocuments::truncate, argument,
                "data.long_documents=split would cut a group apart");
  const std::vector<int64_t> kept = fits ? lengths : cut_to_fit(lengths, seq_len_, groups_.alignment);
  for (size_t i = 0; i < group.size(); ++i) {
    const auto length = static_cast<size_t>(kept[i]);
    counts_.truncated += kept[i] < lengths[i];
    append(std::span(group[i].tokens).first(length), std::span(group[i].labels).first(length), Part::whole,
           kIgnored);
  }
}

void DocumentStoreBuilder::refuse_group(const std::vector<int64_t>& lengths) const {
  throw Error(Code::format, cat("documents of ", std::accumulate(lengths.begin(), lengths.end(), int64_t{0}),
                                " tokens that stay together do not fit into data.seq_len=", seq_len_));
}

void DocumentStoreBuilder::refuse_document(int64_t length) const {
  throw Error(Code::format, cat("a document of ", length, " tokens is longer than data.seq_len=", seq_len_));
}

void DocumentStoreBuilder::check_fit(const std::vector<int64_t>& lengths) const {
  if (rule_ != LongDocuments::error) return;
  std::vector<int64_t> group;
  for (const Held& held : held_) group.push_back(static_cast<int64_t>(held.tokens.size()));
  for (const int64_t length : lengths) {
    if (groups_.documents == 1) {
      if (length > seq_len_) refuse_document(length);
      continue;
    }
    group.push_back(length);
    if (static_cast<int64_t>(group.size()) < groups_.documents) continue;
    // A group with a bad row is left out, however long it is.
    const bool whole = std::find(group.begin(), group.end(), 0) == group.end();
    if (whole && !fit_together(group, seq_len_, groups_.alignment)) refuse_group(group);
    group.clear();
  }
}

void DocumentStoreBuilder::add_one(std::span<const int32_t> tokens, std::span<const int32_t> labels,
                                   LongDocuments rule) {
  const auto limit = static_cast<size_t>(seq_len_);
  if (tokens.size() <= limit) {
    ++counts_.rows;
    append(tokens, labels, Part::whole, kIgnored);
    return;
  }
  if (rule == LongDocuments::error) refuse_document(static_cast<int64_t>(tokens.size()));
  ++counts_.rows;
  if (rule == LongDocuments::drop) {
    ++counts_.dropped;
  } else if (rule == LongDocuments::truncate) {
    // As transformers: cut first, then shift, so that the last token kept has nothing to predict.
    ++counts_.truncated;
    append(tokens.first(limit), labels.first(limit), Part::whole, kIgnored);
  } else {
    // The last token of a piece still predicts the first one of the next: splitting loses no label.
    ++counts_.split;
    bool first = true;
    for (size_t begin = 0; begin < tokens.size(); begin += limit) {
      const size_t count = std::min(limit, tokens.size() - begin);
      const bool more = begin + count < tokens.size();
      if (!append(tokens.subspan(begin, count), labels.subspan(begin, count), Part::piece,
                  more ? labels[begin + count] : kIgnored))
        continue;
      index_.marks.back() |= first ? 0 : 1;
      first = false;
    }
  }
}

void DocumentStoreBuilder::append_text_piece(size_t count, int32_t next_label) {
  const std::span<const int32_t> piece = std::span<const int32_t>(text_).first(count);
  append(piece, piece, text_split_ ? Part::piece : Part::whole, next_label);
  text_.erase(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(count));
}

void DocumentStoreBuilder::extend_text(std::span<const int32_t> tokens) {
  TESSERA_CHECK(groups_.documents == 1, argument, "data.group=", groups_.documents,
                " needs rows: a plain text is cut into documents of their own");
  const auto limit = static_cast<size_t>(seq_len_);
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), limit + 1 - text_.size());
    text_.insert(text_.end(), tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(count));
    tokens = tokens.subspan(count);
    if (text_.size() <= limit) continue;
    text_split_ = true;
    append_text_piece(limit, text_[limit]);
  }
}

void DocumentStoreBuilder::end_text() {
  if (!text_.empty()) {
    ++counts_.rows;
    if (text_split_) ++counts_.split;
    append_text_piece(text_.size(), kIgnored);
  }
  text_split_ = false;
}

void DocumentStoreBuilder::add_bad_row() {
  ++counts_.bad_rows;
  if (groups_.documents == 1) {
    ++counts_.rows;
    return;
  }
  for (int64_t k = 0; k < groups_.documents_per_row; ++k) {
    ++seen_;
    held_.emplace_back();
    if (static_cast<int64_t>(held_.size()) == groups_.documents) add_held(rule_);
  }
}

void DocumentStoreBuilder::check_complete() const {
  TESSERA_CHECK(held_.empty(), argument, "data.group=", groups_.documents, " does not divide ", seen_,
                " documents");
}

std::shared_ptr<const DocumentStore> DocumentStoreBuilder::finish() {
  check_complete();
  return std::make_shared<MemoryStore>(std::move(index_), counts_, std::move(data_));
}

DocumentIndex DocumentStoreBuilder::finish_index() {
  check_complete();
  if (!data_.empty()) sink_(data_);
  data_.clear();
  return std::move(index_);
}

}  // namespace tessera
