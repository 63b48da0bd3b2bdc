// Builds document stores: shifting of labels and the rule for over-long documents.
#include "data/document_store.h"

#include <algorithm>

#include "core/error.h"
#include "data/packed_batch.h"

namespace tessera {
namespace {
constexpr int32_t kIgnored = static_cast<int32_t>(kIgnoredLabel);
}  // namespace

LongDocuments parse_long_documents(const std::string& name, const std::string& format) {
  if (name == "auto") return format == "text" ? LongDocuments::split : LongDocuments::truncate;
  if (name == "drop") return LongDocuments::drop;
  if (name == "truncate") return LongDocuments::truncate;
  if (name == "split") return LongDocuments::split;
  TESSERA_CHECK(name == "error", argument, "data.long_documents=", name,
                " must be auto, drop, truncate, split or error");
  return LongDocuments::error;
}

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
  offsets_.push_back(offsets_.back() + static_cast<int64_t>(tokens.size()));
  continues_.push_back(0);
  counts_.tokens += static_cast<int64_t>(tokens.size());
  counts_.labels += count;
  return true;
}

void DocumentStoreBuilder::add(std::span<const int32_t> tokens, std::span<const int32_t> labels,
                               LongDocuments rule) {
  const auto limit = static_cast<size_t>(seq_len_);
  if (tokens.size() <= limit) {
    ++counts_.rows;
    append(tokens, labels, Part::whole, kIgnored);
    return;
  }
  TESSERA_CHECK(rule != LongDocuments::error, format, "a document of ", tokens.size(),
                " tokens is longer than data.seq_len=", seq_len_);
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
      continues_.back() = first ? 0 : 1;
      first = false;
    }
  }
}

void DocumentStoreBuilder::add_text(std::span<const int32_t> tokens) {
  const size_t first = continues_.size();
  add(tokens, tokens, LongDocuments::split);
  std::fill(continues_.begin() + static_cast<ptrdiff_t>(first), continues_.end(), uint8_t{0});
}

void DocumentStoreBuilder::add_bad_row() {
  ++counts_.rows;
  ++counts_.bad_rows;
}

std::shared_ptr<const DocumentStore> DocumentStoreBuilder::finish() {
  struct Arrays {
    std::vector<int64_t> offsets;
    std::vector<int32_t> data;
    std::vector<uint8_t> continues;
  };
  auto arrays =
      std::make_shared<Arrays>(Arrays{std::move(offsets_), std::move(data_), std::move(continues_)});
  auto store = std::make_shared<DocumentStore>();
  store->offsets_ = arrays->offsets;
  store->data_ = arrays->data;
  store->continues_ = arrays->continues;
  store->counts_ = counts_;
  store->owner_ = std::move(arrays);
  return store;
}

}  // namespace tessera
