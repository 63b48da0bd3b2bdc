// tessera/batch.h
#include "data/batch_builder.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/full_like.h>

#include "data/batch_forms.h"
#include "data/epoch_plan.h"
#include "objects.h"
#include "train/recipe.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::BatchBuilder;
using tessera::BatchLayout;
using tessera::PackedBatch;

namespace {

/// Ids of the interface are 64 bits wide, those of a vocabulary 32.
std::vector<int32_t> narrow(const int64_t* values, int64_t count, int64_t lowest, const char* name) {
  std::vector<int32_t> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    TESSERA_CHECK((values[i] >= 0 || values[i] == lowest) && values[i] <= INT32_MAX, argument, name, "[", i,
                  "]=", values[i], " is not a token id");
    out[static_cast<size_t>(i)] = static_cast<int32_t>(values[i]);
  }
  return out;
}

constexpr int64_t kMostTokens = INT32_MAX;  // document borders are 32 bits wide
constexpr int64_t kMostElements = int64_t{1} << 40;

void check_token_count(int64_t n_tokens) {
  TESSERA_CHECK(n_tokens >= 1 && n_tokens <= kMostTokens, argument, "n_tokens=", n_tokens,
                " must be between 1 and ", kMostTokens);
}

const PackedBatch& part_at(const std::vector<PackedBatch>& parts, int64_t index) {
  TESSERA_CHECK(index >= 0 && index < static_cast<int64_t>(parts.size()), argument, "index=", index,
                " is not below the ", parts.size(), " micro-batches");
  return parts[static_cast<size_t>(index)];
}

/// The caller's micro-batch, on the CPU wherever it is.
PackedBatch on_cpu(PackedBatch batch) {
  for (at::Tensor* tensor :
       {&batch.tokens, &batch.labels, &batch.position_ids, &batch.cu_seqlens, &batch.cu_seqlens_padded})
    *tensor = tensor->cpu().contiguous();
  return batch;
}

/// Tokens and labels as the caller holds them.
struct FlatTokens {
  const int64_t* tokens;
  const int64_t* labels;  ///< null: the tokens themselves
  int64_t count;
  bool shifted = false;  ///< labels[t] is what should follow tokens[t]
};

/// Documents end to end, as one row of the layout.
PackedBatch make_microbatch(const FlatTokens& flat, const int64_t* lengths, int64_t n_lengths,
                            const BatchLayout& layout) {
  TESSERA_CHECK(n_lengths >= 1 && n_lengths <= flat.count, argument, "n_lengths=", n_lengths,
                " must be between 1 and n_tokens=", flat.count);
  int64_t total = 0;
  for (int64_t i = 0; i < n_lengths; ++i) {
    TESSERA_CHECK(lengths[i] >= 1 && lengths[i] <= flat.count - total, argument, "lengths[", i,
                  "]=", lengths[i], " does not fit into n_tokens=", flat.count);
    total += lengths[i];
  }
  TESSERA_CHECK(total == flat.count, argument, "lengths sum to ", total, " instead of n_tokens=", flat.count);
  const std::vector<int32_t> ids = narrow(flat.tokens, flat.count, 0, "tokens");
  const std::vector<int32_t> targets =
      flat.labels == nullptr ? ids : narrow(flat.labels, flat.count, tessera::kIgnoredLabel, "labels");
  BatchBuilder builder(layout);
  size_t start = 0;
  for (int64_t i = 0; i < n_lengths; ++i) {
    const auto length = static_cast<size_t>(lengths[i]);
    const auto own = std::span(targets).subspan(start, length);
    builder.add(std::span(ids).subspan(start, length),
                flat.shifted ? std::vector<int32_t>(own.begin(), own.end()) : tessera::shift_labels(own));
    start += length;
  }
  return builder.finish();
}

/// The caller's array, which the result reads and does not own.
at::Tensor view_of(const int64_t* values, at::IntArrayRef sizes) {
  return at::from_blob(const_cast<int64_t*>(values), sizes, at::TensorOptions().dtype(at::kLong));
}

/// A form that brings its padding, with all labels ignored: where the documents are.
PackedBatch documents_of_form(int32_t form, const FlatTokens& flat, const int64_t* index, int64_t n_index,
                              int64_t extent) {
  const auto view = [&](at::IntArrayRef sizes) { return view_of(flat.tokens, sizes); };
  const auto nothing = [](const at::Tensor& like) { return at::full_like(like, tessera::kIgnoredLabel); };
  switch (form) {
    case TESSERA_BATCH_FORM_ROWS: {
      TESSERA_CHECK(n_index >= 1 && flat.count % n_index == 0, argument, "n_tokens=", flat.count,
                    " are not n_index=", n_index, " rows of equal length");
      const at::Tensor tokens = view({n_index, flat.count / n_index});
      return tessera::batch_from_rows(tokens, nothing(tokens), view_of(index, {n_index}), BatchLayout{});
    }
    case TESSERA_BATCH_FORM_POSITIONS: {
      TESSERA_CHECK(n_index == flat.count, argument, "n_index=", n_index,
                    " position ids for n_tokens=", flat.count);
      const at::Tensor tokens = view({flat.count});
      return tessera::batch_from_positions(tokens, nothing(tokens), view_of(index, {n_index}),
                                           extent == 0 ? flat.count : extent);
    }
    case TESSERA_BATCH_FORM_SEGMENTS: {
      TESSERA_CHECK(n_index == flat.count, argument, "n_index=", n_index,
                    " segment ids for n_tokens=", flat.count);
      const int64_t width = extent == 0 ? flat.count : extent;
      TESSERA_CHECK(width >= 1 && flat.count % width == 0, argument, "extent=", extent,
                    " does not divide n_tokens=", flat.count);
      const at::Tensor tokens = view({flat.count / width, width});
      return tessera::batch_from_segments(tokens, nothing(tokens), view_of(index, tokens.sizes()));
    }
    case TESSERA_BATCH_FORM_CU_SEQLENS: {
      TESSERA_CHECK(n_index >= 2, argument, "n_index=", n_index, " borders are of no document");
      // The second list begins with the second 0: borders rise.
      const bool both = n_index % 2 == 0 && n_index >= 4 && index[n_index / 2] == 0;
      const int64_t borders = both ? n_index / 2 : n_index;
      const at::Tensor tokens = view({flat.count});
      return tessera::batch_from_boundaries(tokens, nothing(tokens), view_of(index, {borders}),
                                            view_of(both ? index + borders : index, {borders}));
    }
    default:
      break;
  }
  throw tessera::Error(tessera::Code::argument, tessera::cat("form=", form, " is not a tessera_batch_form"));
}

/// Labels where the form has them, onto the documents that were found.
PackedBatch with_labels(PackedBatch batch, const FlatTokens& flat) {
  const at::Tensor labels = view_of(flat.labels == nullptr ? flat.tokens : flat.labels, {flat.count});
  if (!flat.shifted) return tessera::with_unshifted_labels(batch, labels);
  return tessera::batch_from_boundaries(batch.tokens, labels, batch.cu_seqlens.to(at::kLong),
                                        batch.cu_seqlens_padded.to(at::kLong));
}

at::Tensor array_of(const PackedBatch& batch, int32_t array) {
  switch (array) {
    case TESSERA_BATCH_TOKENS:
      return batch.tokens;
    case TESSERA_BATCH_LABELS:
      return batch.labels;
    case TESSERA_BATCH_POSITIONS:
      return batch.position_ids;
    case TESSERA_BATCH_CU_SEQLENS:
      return batch.cu_seqlens;
    case TESSERA_BATCH_CU_SEQLENS_PADDED:
      return batch.cu_seqlens_padded;
    case TESSERA_BATCH_SEGMENTS:
      return tessera::segment_ids(batch);
    default:
      break;
  }
  throw tessera::Error(tessera::Code::argument,
                       tessera::cat("array=", array, " is not a tessera_batch_array"));
}

}  // namespace

tessera_status tessera_batch_create(tessera_batch* out_batch, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_batch);
    give(std::make_shared<BatchObject>(), out_batch);
  });
}

tessera_status tessera_batch_destroy(tessera_batch batch) {
  return destroy<BatchObject>(batch);
}

tessera_status tessera_batch_push(tessera_batch batch, const int64_t* tokens, const int64_t* labels,
                                  int64_t n_tokens, const int64_t* lengths, int64_t n_lengths,
                                  tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(tokens);
    TESSERA_NOT_NULL(lengths);
    const auto object = find<BatchObject>(batch, "batch");
    check_token_count(n_tokens);
    PackedBatch made = make_microbatch({tokens, labels, n_tokens}, lengths, n_lengths, BatchLayout{});
    const std::lock_guard lock(object->mutex);
    object->microbatches.push_back(std::move(made));
  });
}

tessera_status tessera_batch_count(tessera_batch batch, int64_t* out_count, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_count);
    *out_count = static_cast<int64_t>(find<BatchObject>(batch, "batch")->snapshot().size());
  });
}

tessera_status tessera_batch_count_tokens(tessera_batch batch, int64_t* out_tokens, int64_t* out_labels,
                                          tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_tokens);
    TESSERA_NOT_NULL(out_labels);
    int64_t tokens = 0;
    int64_t labels = 0;
    for (const PackedBatch& part : find<BatchObject>(batch, "batch")->snapshot()) {
      tokens += part.tokens_count();
      labels += part.label_count;
    }
    *out_tokens = tokens;
    *out_labels = labels;
  });
}

tessera_status tessera_batch_get_array(tessera_batch batch, int64_t index, int32_t array, int64_t* buf,
                                       size_t cap, size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto parts = find<BatchObject>(batch, "batch")->snapshot();
    const at::Tensor values = array_of(on_cpu(part_at(parts, index)), array).to(at::kLong).contiguous();
    write_array(
        std::span<const int64_t>(values.const_data_ptr<int64_t>(), static_cast<size_t>(values.numel())), buf,
        cap, out_len);
  });
}

tessera_status tessera_batch_push_form(tessera_batch batch, tessera_config layout, int32_t form,
                                       const int64_t* tokens, const int64_t* labels, int64_t n_tokens,
                                       int32_t labels_shifted, const int64_t* index, int64_t n_index,
                                       int64_t extent, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(tokens);
    TESSERA_NOT_NULL(index);
    const auto object = find<BatchObject>(batch, "batch");
    const auto config = find_optional<ConfigObject>(layout, "layout");
    check_token_count(n_tokens);
    const bool shifted = flag_in(labels_shifted, "labels_shifted");
    TESSERA_CHECK(!shifted || labels != nullptr, argument, "labels is null but labels_shifted=1");
    const bool takes_extent = form == TESSERA_BATCH_FORM_POSITIONS || form == TESSERA_BATCH_FORM_SEGMENTS;
    TESSERA_CHECK(extent == 0 || (takes_extent && extent > 0), argument, "extent=", extent,
                  takes_extent ? " must not be negative" : " must be 0 for this form");
    BatchLayout rows;
    if (config != nullptr) rows = tessera::row_layout(tessera::dataset_options(config->snapshot(), 0, 1));
    const FlatTokens flat{tokens, labels, n_tokens, shifted};
    PackedBatch made;
    if (form == TESSERA_BATCH_FORM_LENGTHS) {
      made = make_microbatch(flat, index, n_index, rows);
    } else {
      made = with_labels(documents_of_form(form, flat, index, n_index, extent), flat);
      tessera::check_alignment(made, rows.alignment());
    }
    const std::lock_guard lock(object->mutex);
    object->microbatches.push_back(std::move(made));
  });
}

tessera_status tessera_batch_get_rows(tessera_batch batch, int64_t index, int64_t row_length,
                                      int64_t pad_token, int64_t* buf, size_t cap, size_t* out_len,
                                      tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    TESSERA_CHECK(row_length >= 0 && row_length <= kMostTokens, argument, "row_length=", row_length,
                  " must be between 0 and ", kMostTokens);
    const auto parts = find<BatchObject>(batch, "batch")->snapshot();
    const PackedBatch part = on_cpu(part_at(parts, index));
    const int64_t width = row_length > 0 ? row_length : part.max_seqlen;
    TESSERA_CHECK(part.documents() <= kMostElements / width, argument, "row_length=", row_length, " makes ",
                  part.documents(), " rows larger than ", kMostElements, " elements");
    const auto needed = static_cast<size_t>(4 * part.documents() * width);
    *out_len = needed;
    TESSERA_CHECK(cap >= needed || part.max_seqlen > width, buffer, "cap=", cap, " is too small for ", needed,
                  " elements");
    const tessera::PaddedRows rows = tessera::rows_from_batch(part, row_length, pad_token);
    for (const at::Tensor& array : {rows.tokens, rows.labels, rows.position_ids, rows.attention_mask}) {
      const auto* values = array.const_data_ptr<int64_t>();
      buf = std::copy(values, values + array.numel(), buf);
    }
  });
}
