// tessera/batch.h
#include "data/batch_builder.h"

#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::BatchBuilder;
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

PackedBatch make_microbatch(const int64_t* tokens, const int64_t* labels, int64_t n_tokens,
                            const int64_t* lengths, int64_t n_lengths) {
  int64_t total = 0;
  for (int64_t i = 0; i < n_lengths; ++i) {
    TESSERA_CHECK(lengths[i] >= 1 && lengths[i] <= n_tokens - total, argument, "lengths[", i,
                  "]=", lengths[i], " does not fit into n_tokens=", n_tokens);
    total += lengths[i];
  }
  TESSERA_CHECK(total == n_tokens, argument, "lengths sum to ", total, " instead of n_tokens=", n_tokens);
  const std::vector<int32_t> ids = narrow(tokens, n_tokens, 0, "tokens");
  const std::vector<int32_t> targets =
      labels == nullptr ? ids : narrow(labels, n_tokens, tessera::kIgnoredLabel, "labels");
  BatchBuilder builder(tessera::BatchLayout{});
  size_t start = 0;
  for (int64_t i = 0; i < n_lengths; ++i) {
    const auto length = static_cast<size_t>(lengths[i]);
    const auto shifted = tessera::shift_labels(std::span(targets).subspan(start, length));
    builder.add(std::span(ids).subspan(start, length), shifted);
    start += length;
  }
  return builder.finish();
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
    constexpr int64_t kMost = INT32_MAX;  // document borders are 32 bits wide
    TESSERA_CHECK(n_tokens >= 1 && n_tokens <= kMost, argument, "n_tokens=", n_tokens,
                  " must be between 1 and ", kMost);
    TESSERA_CHECK(n_lengths >= 1 && n_lengths <= n_tokens, argument, "n_lengths=", n_lengths,
                  " must be between 1 and n_tokens=", n_tokens);
    PackedBatch made = make_microbatch(tokens, labels, n_tokens, lengths, n_lengths);
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
    TESSERA_CHECK(index >= 0 && index < static_cast<int64_t>(parts.size()), argument, "index=", index,
                  " is not below the ", parts.size(), " micro-batches");
    const at::Tensor values =
        array_of(parts[static_cast<size_t>(index)], array).cpu().to(at::kLong).contiguous();
    write_array(
        std::span<const int64_t>(values.const_data_ptr<int64_t>(), static_cast<size_t>(values.numel())), buf,
        cap, out_len);
  });
}
