// The checks behind PackedBatch's promises.
#include "data/packed_batch.h"

#include <ATen/ops/diff.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace tessera {
namespace {

void check_tensor(const at::Tensor& tensor, const char* name, at::ScalarType dtype) {
  TESSERA_CHECK(tensor.defined(), argument, name, " is missing");
  TESSERA_CHECK(tensor.device().is_cpu(), argument, name, " is not on the cpu");
  TESSERA_CHECK(tensor.scalar_type() == dtype, argument, name, " must be ", c10::toString(dtype), ", not ",
                c10::toString(tensor.scalar_type()));
  TESSERA_CHECK(tensor.dim() == 1, argument, name, " must have 1 dim, not ", tensor.dim());
  TESSERA_CHECK(tensor.is_contiguous(), argument, name, " is not contiguous");
}

void check_boundaries(const PackedBatch& batch, int64_t tokens) {
  const int64_t documents = batch.documents();
  TESSERA_CHECK(documents >= 1, argument, "cu_seqlens must have at least 2 entries, not ", documents + 1);
  TESSERA_CHECK(batch.cu_seqlens_padded.numel() == documents + 1, argument, "cu_seqlens_padded has ",
                batch.cu_seqlens_padded.numel(), " entries, cu_seqlens has ", documents + 1);
  const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  TESSERA_CHECK(real[0] == 0, argument, "cu_seqlens starts with ", real[0], ", not 0");
  TESSERA_CHECK(padded[0] == 0, argument, "cu_seqlens_padded starts with ", padded[0], ", not 0");
  int64_t longest = 0;
  for (int64_t i = 0; i < documents; ++i) {
    const int64_t length = int64_t{real[i + 1]} - real[i];
    const int64_t slot = int64_t{padded[i + 1]} - padded[i];
    TESSERA_CHECK(length >= 1, argument, "document ", i, " has length ", length);
    TESSERA_CHECK(slot >= length, argument, "document ", i, " of length ", length, " has a slot of ", slot,
                  " tokens");
    longest = std::max(longest, length);
  }
  TESSERA_CHECK(padded[documents] == tokens, argument, "cu_seqlens_padded ends with ", padded[documents],
                ", not with the token count ", tokens);
  TESSERA_CHECK(batch.max_seqlen == longest, argument, "max_seqlen=", batch.max_seqlen,
                " is not the longest document, ", longest);
}

/// Checks one document's slot and returns its number of labels.
int64_t check_document(const PackedBatch& batch, int64_t document, int64_t begin, int64_t length,
                       int64_t slot, int64_t vocab) {
  const int64_t* tokens = batch.tokens.const_data_ptr<int64_t>() + begin;
  const int64_t* labels = batch.labels.const_data_ptr<int64_t>() + begin;
  const int64_t* positions = batch.position_ids.const_data_ptr<int64_t>() + begin;
  const int64_t bound = vocab > 0 ? vocab : std::numeric_limits<int64_t>::max();
  int64_t count = 0;
  for (int64_t t = 0; t < slot; ++t) {
    TESSERA_CHECK(tokens[t] >= 0 && tokens[t] < bound, argument, "token ", tokens[t], " at ", begin + t,
                  " is outside the vocabulary of ", vocab);
    if (t < length) {
      TESSERA_CHECK(positions[t] == t, argument, "position_ids[", begin + t, "]=", positions[t],
                    " is not the position in document ", document, ", ", t);
    } else {
      TESSERA_CHECK(positions[t] >= 0 && positions[t] < slot, argument, "position_ids[", begin + t,
                    "]=", positions[t], " is outside the slot of document ", document);
    }
    if (labels[t] == kIgnoredLabel) continue;
    TESSERA_CHECK(t < length, argument, "labels[", begin + t, "]=", labels[t], " is on padding");
    TESSERA_CHECK(labels[t] >= 0 && labels[t] < bound, argument, "label ", labels[t], " at ", begin + t,
                  " is outside the vocabulary of ", vocab);
    ++count;
  }
  return count;
}

// Mixes the length and the bytes of a tensor into `hash` (the finaliser of splitmix64: Steele et al., 2014).
void mix(uint64_t& hash, const at::Tensor& tensor) {
  const auto add = [&hash](uint64_t word) {
    hash = (hash ^ word) + 0x9e3779b97f4a7c15;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
    hash ^= hash >> 31;
  };
  const auto bytes = static_cast<size_t>(tensor.nbytes());
  const auto* data = static_cast<const char*>(tensor.const_data_ptr());
  add(bytes);
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, data + at, std::min(sizeof word, bytes - at));
    add(word);
  }
}

}  // namespace

at::Tensor document_lengths(const PackedBatch& batch) {
  if (batch.whole_lengths.defined()) return batch.whole_lengths;
  return at::diff(batch.cu_seqlens).to(at::kLong);
}

void validate(const PackedBatch& batch, int64_t vocab) {
  check_tensor(batch.tokens, "tokens", at::kLong);
  check_tensor(batch.labels, "labels", at::kLong);
  check_tensor(batch.position_ids, "position_ids", at::kLong);
  check_tensor(batch.cu_seqlens, "cu_seqlens", at::kInt);
  check_tensor(batch.cu_seqlens_padded, "cu_seqlens_padded", at::kInt);
  const int64_t tokens = batch.tokens.numel();
  TESSERA_CHECK(tokens <= std::numeric_limits<int32_t>::max(), argument, "tokens has ", tokens,
                " entries, more than int32 boundaries can hold");
  TESSERA_CHECK(batch.labels.numel() == tokens, argument, "labels has ", batch.labels.numel(),
                " entries, tokens has ", tokens);
  TESSERA_CHECK(batch.position_ids.numel() == tokens, argument, "position_ids has ",
                batch.position_ids.numel(), " entries, tokens has ", tokens);
  check_boundaries(batch, tokens);

  const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  int64_t count = 0;
  for (int64_t i = 0; i < batch.documents(); ++i)
    count += check_document(batch, i, padded[i], real[i + 1] - real[i], padded[i + 1] - padded[i], vocab);
  TESSERA_CHECK(batch.label_count == count, argument, "label_count=", batch.label_count, ", but ", count,
                " labels are not ignored");
}

int64_t fingerprint(const PackedBatch& batch) {
  uint64_t hash = 0;
  mix(hash, batch.tokens);
  mix(hash, batch.labels);
  mix(hash, batch.position_ids);
  mix(hash, batch.cu_seqlens);
  mix(hash, batch.cu_seqlens_padded);
  return static_cast<int64_t>(hash >> 12);
}

int64_t document_token_count(const PackedBatch& batch) {
  if (batch.documents() == 0) return 0;
  return batch.cu_seqlens.const_data_ptr<int32_t>()[batch.documents()];
}

at::Tensor document_tokens(const PackedBatch& batch) {
  const int64_t count = document_token_count(batch);
  if (count == batch.tokens_count()) return {};
  at::Tensor list = at::empty({count}, at::dtype(at::kLong));
  auto* next = list.mutable_data_ptr<int64_t>();
  const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
  const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < batch.documents(); ++i) {
    for (int64_t t = 0; t < real[i + 1] - real[i]; ++t) *next++ = padded[i] + t;
  }
  return list;
}

}  // namespace tessera
