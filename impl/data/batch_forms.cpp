// Padded, position-id and segment-id forms of a PackedBatch.
#include "data/batch_forms.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "core/error.h"

namespace tessera {
namespace {

void check_ids(const at::Tensor& tensor, const char* name) {
  TESSERA_CHECK(tensor.defined(), argument, name, " is missing");
  TESSERA_CHECK(tensor.device().is_cpu() && tensor.scalar_type() == at::kLong, argument, name,
                " must be an int64 tensor on the cpu");
}

void check_same_shape(const at::Tensor& tensor, const char* name, const at::Tensor& tokens) {
  check_ids(tensor, name);
  TESSERA_CHECK(tensor.sizes() == tokens.sizes(), argument, name, " does not have the shape of tokens");
}

/// Documents found one after the other in a flat batch that already has its padding.
class SlotScanner {
 public:
  SlotScanner(const at::Tensor& tokens, const at::Tensor& labels)
      : tokens_(tokens.contiguous().view({-1})), labels_(labels.contiguous().view({-1})) {
    TESSERA_CHECK(tokens_.numel() > 0, argument, "tokens is empty");
    TESSERA_CHECK(tokens_.numel() <= std::numeric_limits<int32_t>::max(), argument, "tokens has ",
                  tokens_.numel(), " entries, more than int32 boundaries can hold");
  }

  void add(int64_t length, int64_t slot) {
    real_.push_back(real_.back() + static_cast<int32_t>(length));
    padded_.push_back(padded_.back() + static_cast<int32_t>(slot));
    longest_ = std::max(longest_, length);
  }

  PackedBatch finish() {
    PackedBatch batch;
    const int64_t count = tokens_.numel();
    batch.tokens = tokens_.clone();
    batch.labels = labels_.clone();
    batch.position_ids = at::empty({count}, at::TensorOptions().dtype(at::kLong));
    int64_t* positions = batch.position_ids.mutable_data_ptr<int64_t>();
    int64_t* labels = batch.labels.mutable_data_ptr<int64_t>();
    for (size_t i = 0; i + 1 < padded_.size(); ++i) {
      const int64_t length = real_[i + 1] - real_[i];
      for (int64_t t = padded_[i]; t < padded_[i + 1]; ++t) {
        positions[t] = t - padded_[i];
        if (positions[t] >= length) labels[t] = kIgnoredLabel;
        batch.label_count += labels[t] != kIgnoredLabel;
      }
    }
    batch.cu_seqlens = boundaries(real_);
    batch.cu_seqlens_padded = boundaries(padded_);
    batch.max_seqlen = longest_;
    validate(batch, 0);
    return batch;
  }

 private:
  static at::Tensor boundaries(const std::vector<int32_t>& values) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(at::kInt));
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int32_t>());
    return out;
  }

  at::Tensor tokens_, labels_;
  std::vector<int32_t> real_{0}, padded_{0};
  int64_t longest_ = 0;
};

}  // namespace

PackedBatch batch_from_rows(const at::Tensor& tokens, const at::Tensor& labels, const at::Tensor& lengths,
                            const BatchLayout& layout) {
  layout.check();
  check_ids(tokens, "tokens");
  TESSERA_CHECK(tokens.dim() == 2, argument, "tokens must have 2 dims, not ", tokens.dim());
  check_same_shape(labels, "labels", tokens);
  check_ids(lengths, "lengths");
  const int64_t rows = tokens.size(0);
  const int64_t width = tokens.size(1);
  TESSERA_CHECK(lengths.dim() == 1 && lengths.numel() == rows, argument,
                "lengths must have one entry per row, ", rows);
  TESSERA_CHECK(width % layout.alignment() == 0, argument, "rows of ", width,
                " tokens are not a multiple of the alignment ", layout.alignment());

  const at::Tensor source = labels.contiguous();
  at::Tensor shifted = at::full(source.sizes(), kIgnoredLabel, source.options());
  const int64_t* from = source.const_data_ptr<int64_t>();
  int64_t* to = shifted.mutable_data_ptr<int64_t>();
  const at::Tensor counts = lengths.contiguous();
  SlotScanner scanner(tokens, shifted);
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t length = counts.const_data_ptr<int64_t>()[b];
    TESSERA_CHECK(length >= 1 && length <= width, argument, "lengths[", b, "]=", length,
                  " is not between 1 and ", width);
    std::copy(from + b * width + 1, from + b * width + length, to + b * width);
    scanner.add(length, width);
  }
  return scanner.finish();
}

PaddedRows rows_from_batch(const PackedBatch& batch, int64_t row_length, int64_t pad_token) {
  validate(batch, 0);
  const int64_t rows = batch.documents();
  const int64_t width = row_length > 0 ? row_length : batch.max_seqlen;
  TESSERA_CHECK(batch.max_seqlen <= width, argument, "a document of ", batch.max_seqlen,
                " tokens does not fit into row_length=", width);
  const auto options = batch.tokens.options();
  PaddedRows out{at::full({rows, width}, pad_token, options), at::full({rows, width}, kIgnoredLabel, options),
                 at::zeros({rows, width}, options), at::zeros({rows, width}, options)};
  const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  const int64_t* tokens = batch.tokens.const_data_ptr<int64_t>();
  const int64_t* labels = batch.labels.const_data_ptr<int64_t>();
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t length = real[b + 1] - real[b];
    TESSERA_CHECK(labels[padded[b] + length - 1] == kIgnoredLabel, argument, "document ", b,
                  " has a label after its last token, which padded rows cannot hold");
    for (int64_t t = 0; t < length; ++t) {
      const int64_t at = b * width + t;
      out.tokens.mutable_data_ptr<int64_t>()[at] = tokens[padded[b] + t];
      if (t > 0) out.labels.mutable_data_ptr<int64_t>()[at] = labels[padded[b] + t - 1];
      out.position_ids.mutable_data_ptr<int64_t>()[at] = t;
      out.attention_mask.mutable_data_ptr<int64_t>()[at] = 1;
    }
  }
  return out;
}

PackedBatch batch_from_positions(const at::Tensor& tokens, const at::Tensor& labels,
                                 const at::Tensor& position_ids, int64_t real_tokens) {
  check_ids(tokens, "tokens");
  TESSERA_CHECK(tokens.dim() == 1, argument, "tokens must have 1 dim, not ", tokens.dim());
  check_same_shape(labels, "labels", tokens);
  check_same_shape(position_ids, "position_ids", tokens);
  const int64_t count = tokens.numel();
  TESSERA_CHECK(real_tokens >= 1 && real_tokens <= count, argument, "real_tokens=", real_tokens,
                " is not between 1 and the token count ", count);
  const at::Tensor flat = position_ids.contiguous();
  const int64_t* positions = flat.const_data_ptr<int64_t>();
  SlotScanner scanner(tokens, labels);
  int64_t begin = 0;
  for (int64_t t = 0; t < real_tokens; ++t) {
    if (positions[t] == 0 && t > begin) {
      scanner.add(t - begin, t - begin);
      begin = t;
    }
    TESSERA_CHECK(positions[t] == t - begin, argument, "position_ids[", t, "]=", positions[t],
                  " neither continues its document nor starts one at 0");
  }
  scanner.add(real_tokens - begin, count - begin);
  return scanner.finish();
}

PackedBatch batch_from_segments(const at::Tensor& tokens, const at::Tensor& labels,
                                const at::Tensor& segment_ids) {
  check_ids(tokens, "tokens");
  TESSERA_CHECK(tokens.dim() == 1 || tokens.dim() == 2, argument, "tokens must have 1 or 2 dims, not ",
                tokens.dim());
  check_same_shape(labels, "labels", tokens);
  check_same_shape(segment_ids, "segment_ids", tokens);
  const int64_t width = tokens.size(-1);
  const int64_t rows = tokens.dim() == 2 ? tokens.size(0) : 1;
  const at::Tensor flat = segment_ids.contiguous();
  SlotScanner scanner(tokens, labels);
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t* ids = flat.const_data_ptr<int64_t>() + b * width;
    TESSERA_CHECK(width > 0 && ids[0] != 0, argument, "row ", b, " begins with padding");
    for (int64_t begin = 0; begin < width;) {
      int64_t end = begin;
      while (end < width && ids[end] == ids[begin]) ++end;
      int64_t slot_end = end;
      while (slot_end < width && ids[slot_end] == 0) ++slot_end;
      scanner.add(end - begin, slot_end - begin);
      begin = slot_end;
    }
  }
  return scanner.finish();
}

PackedBatch batch_from_boundaries(const at::Tensor& tokens, const at::Tensor& labels,
                                  const at::Tensor& cu_seqlens, const at::Tensor& cu_seqlens_padded) {
  check_ids(tokens, "tokens");
  TESSERA_CHECK(tokens.dim() == 1, argument, "tokens must have 1 dim, not ", tokens.dim());
  check_same_shape(labels, "labels", tokens);
  check_ids(cu_seqlens, "cu_seqlens");
  check_same_shape(cu_seqlens_padded, "cu_seqlens_padded", cu_seqlens);
  TESSERA_CHECK(cu_seqlens.dim() == 1 && cu_seqlens.numel() >= 2, argument,
                "cu_seqlens must list the borders of at least one document");
  const at::Tensor real_borders = cu_seqlens.contiguous();
  const at::Tensor padded_borders = cu_seqlens_padded.contiguous();
  const int64_t* real = real_borders.const_data_ptr<int64_t>();
  const int64_t* padded = padded_borders.const_data_ptr<int64_t>();
  const int64_t documents = cu_seqlens.numel() - 1;
  const int64_t count = tokens.numel();
  TESSERA_CHECK(real[0] == 0 && padded[0] == 0, argument, "cu_seqlens must begin with 0");
  TESSERA_CHECK(padded[documents] == count, argument, "cu_seqlens_padded ends with ", padded[documents],
                ", not with the token count ", count);
  SlotScanner scanner(tokens, labels);
  for (int64_t i = 0; i < documents; ++i) {
    for (const auto& [borders, name] :
         {std::pair{real, "cu_seqlens"}, std::pair{padded, "cu_seqlens_padded"}})
      TESSERA_CHECK(borders[i + 1] > borders[i] && borders[i + 1] <= count, argument, name, "[", i + 1,
                    "]=", borders[i + 1], " is not between ", borders[i], " and the token count ", count);
    const int64_t length = real[i + 1] - real[i];
    TESSERA_CHECK(length <= padded[i + 1] - padded[i], argument, "document ", i, " of ", length,
                  " tokens does not fit into its ", padded[i + 1] - padded[i], " of cu_seqlens_padded");
    scanner.add(length, padded[i + 1] - padded[i]);
  }
  return scanner.finish();
}

PackedBatch with_unshifted_labels(const PackedBatch& batch, const at::Tensor& labels) {
  check_same_shape(labels, "labels", batch.tokens);
  PackedBatch out = batch;
  out.labels = at::full({batch.tokens_count()}, kIgnoredLabel, batch.tokens.options());
  out.label_count = 0;
  const at::Tensor source = labels.contiguous();
  const int64_t* from = source.const_data_ptr<int64_t>();
  int64_t* to = out.labels.mutable_data_ptr<int64_t>();
  const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < batch.documents(); ++i) {
    const int64_t last = padded[i] + real[i + 1] - real[i] - 1;
    std::copy(from + padded[i] + 1, from + last + 1, to + padded[i]);
    out.label_count +=
        std::count_if(to + padded[i], to + last, [](int64_t label) { return label != kIgnoredLabel; });
  }
  validate(out, 0);
  return out;
}

void check_alignment(const PackedBatch& batch, int64_t alignment) {
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < batch.documents(); ++i)
    TESSERA_CHECK(padded[i + 1] % alignment == 0, argument, "document ", i, " ends, with its padding, at ",
                  padded[i + 1], ", which is no multiple of the alignment ", alignment);
}

at::Tensor segment_ids(const PackedBatch& batch) {
  at::Tensor out = at::zeros({batch.tokens_count()}, at::TensorOptions().dtype(at::kInt));
  int32_t* ids = out.mutable_data_ptr<int32_t>();
  const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < batch.documents(); ++i) {
    const int32_t length = real[i + 1] - real[i];
    std::fill(ids + padded[i], ids + padded[i] + length, static_cast<int32_t>(i + 1));
  }
  return out;
}

}  // namespace tessera
