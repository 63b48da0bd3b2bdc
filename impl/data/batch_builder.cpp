// Documents laid end to end, with the alignment that context parallelism and kernels ask for.
#include "data/batch_builder.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace tessera {
namespace {

template <class T>
at::Tensor to_tensor(const std::vector<T>& values, at::ScalarType dtype) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(dtype));
  if (!values.empty()) std::memcpy(out.mutable_data_ptr(), values.data(), values.size() * sizeof(T));
  return out;
}

std::vector<int32_t> to_ids(const std::vector<int64_t>& values, const char* name) {
  std::vector<int32_t> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const bool fits = values[i] >= 0 && values[i] <= std::numeric_limits<int32_t>::max();
    TESSERA_CHECK(fits || values[i] == kIgnoredLabel, argument, name, "[", i, "]=", values[i],
                  " is no token id");
    out[i] = static_cast<int32_t>(values[i]);
  }
  return out;
}

}  // namespace

int64_t BatchLayout::alignment() const {
  return std::lcm(cp > 1 ? 2 * cp : int64_t{1}, multiple);
}

int64_t BatchLayout::aligned(int64_t length) const {
  const int64_t unit = alignment();
  return (length + unit - 1) / unit * unit;
}

void BatchLayout::check() const {
  constexpr int64_t kLargest = 1 << 20;
  TESSERA_CHECK(cp >= 1 && cp <= kLargest, argument, "cp=", cp, " must be between 1 and ", kLargest);
  TESSERA_CHECK(multiple >= 1 && multiple <= kLargest, argument, "multiple=", multiple,
                " must be between 1 and ", kLargest);
  TESSERA_CHECK(pad_token >= 0 && pad_token <= std::numeric_limits<int32_t>::max(), argument,
                "pad_token=", pad_token, " is no token id");
  TESSERA_CHECK(capacity >= 0 && capacity <= std::numeric_limits<int32_t>::max(), argument,
                "capacity=", capacity, " must be between 0 and 2147483647");
  TESSERA_CHECK(capacity % alignment() == 0, argument, "capacity=", capacity,
                " is not a multiple of the alignment ", alignment(), " (lcm of ", cp > 1 ? 2 * cp : 1,
                " for cp=", cp, " and multiple=", multiple, ")");
}

std::vector<int32_t> shift_labels(std::span<const int32_t> labels) {
  std::vector<int32_t> out(labels.size(), static_cast<int32_t>(kIgnoredLabel));
  if (labels.size() > 1) std::copy(labels.begin() + 1, labels.end(), out.begin());
  return out;
}

BatchBuilder::BatchBuilder(const BatchLayout& layout) : layout_(layout) {
  layout_.check();
  alignment_ = layout_.alignment();
}

int64_t BatchBuilder::room() const {
  if (layout_.capacity == 0) return std::numeric_limits<int64_t>::max();
  return layout_.capacity - (static_cast<int64_t>(tokens_.size()) - row_start_);
}

void BatchBuilder::pad_to(int64_t length) {
  const int64_t slot_begin = cu_seqlens_padded_[cu_seqlens_padded_.size() - 2];
  for (int64_t t = static_cast<int64_t>(tokens_.size()); t < length; ++t) {
    tokens_.push_back(layout_.pad_token);
    labels_.push_back(kIgnoredLabel);
    positions_.push_back(t - slot_begin);
  }
  cu_seqlens_padded_.back() = static_cast<int32_t>(length);
}

void BatchBuilder::add(std::span<const int32_t> tokens, std::span<const int32_t> shifted_labels) {
  const int64_t length = static_cast<int64_t>(tokens.size());
  TESSERA_CHECK(length > 0, argument, "a document has no tokens");
  TESSERA_CHECK(shifted_labels.size() == tokens.size(), argument, "a document has ", tokens.size(),
                " tokens and ", shifted_labels.size(), " labels");
  const int64_t slot = (length + alignment_ - 1) / alignment_ * alignment_;
  TESSERA_CHECK(slot <= room(), argument, "a document of ", length, " tokens (", slot,
                " aligned) does not fit into the ", room(), " tokens left of capacity=", layout_.capacity);
  const int64_t begin = static_cast<int64_t>(tokens_.size());
  TESSERA_CHECK(begin + slot <= std::numeric_limits<int32_t>::max(), argument, "a batch of ", begin + slot,
                " tokens is larger than int32 boundaries can hold");
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  labels_.insert(labels_.end(), shifted_labels.begin(), shifted_labels.end());
  positions_.resize(begin + length);
  std::iota(positions_.begin() + begin, positions_.end(), int64_t{0});
  cu_seqlens_.push_back(cu_seqlens_.back() + static_cast<int32_t>(length));
  cu_seqlens_padded_.push_back(static_cast<int32_t>(begin + length));
  pad_to(begin + slot);
  max_seqlen_ = std::max(max_seqlen_, length);
  label_count_ += std::count_if(shifted_labels.begin(), shifted_labels.end(),
                                [](int32_t label) { return label != kIgnoredLabel; });
  ++row_documents_;
}

void BatchBuilder::end_row() {
  if (row_documents_ == 0) {
    const int32_t token = static_cast<int32_t>(layout_.pad_token);
    const int32_t label = static_cast<int32_t>(kIgnoredLabel);
    add({&token, 1}, {&label, 1});
  }
  if (layout_.capacity > 0) {
    TESSERA_CHECK(row_start_ + layout_.capacity <= std::numeric_limits<int32_t>::max(), argument,
                  "a batch of ", row_start_ + layout_.capacity,
                  " tokens is larger than int32 boundaries can hold");
    pad_to(row_start_ + layout_.capacity);
  }
  row_start_ = static_cast<int64_t>(tokens_.size());
  row_documents_ = 0;
  ++rows_;
}

PackedBatch BatchBuilder::finish() {
  if (row_documents_ > 0 || rows_ == 0) end_row();
  PackedBatch batch;
  batch.tokens = to_tensor(tokens_, at::kLong);
  batch.labels = to_tensor(labels_, at::kLong);
  batch.position_ids = to_tensor(positions_, at::kLong);
  batch.cu_seqlens = to_tensor(cu_seqlens_, at::kInt);
  batch.cu_seqlens_padded = to_tensor(cu_seqlens_padded_, at::kInt);
  batch.max_seqlen = max_seqlen_;
  batch.label_count = label_count_;
  *this = BatchBuilder(layout_);
  return batch;
}

PackedBatch batch_from_documents(const std::vector<std::vector<Document>>& rows, const BatchLayout& layout) {
  BatchBuilder builder(layout);
  for (const auto& row : rows) {
    for (const Document& document : row) {
      TESSERA_CHECK(document.labels.size() == document.tokens.size(), argument, "a document has ",
                    document.tokens.size(), " tokens and ", document.labels.size(), " labels");
      const std::vector<int32_t> tokens = to_ids(document.tokens, "tokens");
      const std::vector<int32_t> labels = to_ids(document.labels, "labels");
      TESSERA_CHECK(std::find(tokens.begin(), tokens.end(), kIgnoredLabel) == tokens.end(), argument,
                    "a token is ", kIgnoredLabel, ", which only a label may be");
      builder.add(tokens, shift_labels(labels));
    }
    builder.end_row();
  }
  return builder.finish();
}

}  // namespace tessera
