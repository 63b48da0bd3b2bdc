// Checking and collecting pushed documents.
#include "pushed_dataset.h"

#include "core/error.h"
#include "data/dataset_options.h"

namespace tessera::capi {
namespace {

std::vector<int32_t> narrow(std::span<const int64_t> values, const char* name) {
  std::vector<int32_t> out;
  out.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    TESSERA_CHECK(values[i] >= INT32_MIN && values[i] <= INT32_MAX, argument, name, "[", i, "]=", values[i],
                  " is not a token id");
    out.push_back(static_cast<int32_t>(values[i]));
  }
  return out;
}

}  // namespace

PushedDataset::PushedDataset(DatasetOptions options)
    : options_(with_pairs(options)),
      builder_(options_.seq_len, parse_long_documents(options_.long_documents, "tokens", options_.group), {},
               {options_.group, 1, document_groups(options_).alignment}) {}

void PushedDataset::push(std::span<const int64_t> tokens, std::span<const int64_t> labels) {
  push({TokenRow{narrow(tokens, "tokens"), narrow(labels, "labels")}});
}

void PushedDataset::push(const std::vector<TokenRow>& rows) {
  TESSERA_CHECK(store_ == nullptr, state, "the documents were ended: no more can be pushed");
  for (size_t i = 0; i < rows.size(); ++i) {
    try {
      check_token_row(rows[i], options_.vocab_size);
    } catch (const Error& error) {
      throw Error(Code::argument,
                  cat("document ", builder_.size() + static_cast<int64_t>(i), ": ", error.what()));
    }
  }
  std::vector<int64_t> lengths;
  for (const TokenRow& row : rows) lengths.push_back(static_cast<int64_t>(row.tokens.size()));
  builder_.check_fit(lengths);  // all rows or none
  for (const TokenRow& row : rows) builder_.add(row.tokens, row.labels);
}

void PushedDataset::end() {
  TESSERA_CHECK(dataset_ == nullptr, state, "the documents were ended before");
  if (store_ == nullptr) {
    builder_.check_complete();
    TESSERA_CHECK(builder_.size() > 0, state, "no document was pushed, or none was kept");
    store_ = builder_.finish();
  }
  // Where settings do not fit the documents this throws, again and again: the builder is empty by now.
  dataset_ = open_documents(options_, store_);
}

Dataset& PushedDataset::ready() const {
  TESSERA_CHECK(dataset_ != nullptr, state,
                store_ == nullptr ? "documents are still being pushed: call tessera_dataset_push_end first"
                                  : "tessera_dataset_push_end has failed: there are no steps to read");
  return *dataset_;
}

}  // namespace tessera::capi
