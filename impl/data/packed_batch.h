// The one batch type: documents laid end to end (THD). Padded [B, S] batches are the case of B equal
// documents.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera {

/// All tensors are on the CPU when a dataset hands them out and on the model's device when a step uses them.
/// Attention never crosses a document boundary, and padding is known from the two boundary lists, never
/// guessed from a token value.
struct PackedBatch {
  at::Tensor tokens;        ///< int64 [T]
  at::Tensor labels;        ///< int64 [T]: already shifted (labels[t] is the token after t), -100 is ignored
  at::Tensor position_ids;  ///< int64 [T]: restarts at 0 in each document
  at::Tensor cu_seqlens;    ///< int32 [n+1]: document i is tokens cu_seqlens_padded[i] .. + its real length
  at::Tensor
      cu_seqlens_padded;    ///< int32 [n+1]: boundaries with each document's alignment padding; last is T
  int64_t max_seqlen = 0;   ///< longest real document
  int64_t label_count = 0;  ///< labels that are not -100
  /// int64 [n]: where the documents are split between ranks, the lengths of the whole ones; undefined
  /// otherwise.
  at::Tensor whole_lengths;

  int64_t tokens_count() const { return tokens.defined() ? tokens.numel() : 0; }
  int64_t documents() const { return cu_seqlens.defined() ? cu_seqlens.numel() - 1 : 0; }
};

inline constexpr int64_t kIgnoredLabel = -100;

/// Tokens of documents, padding left out.
int64_t document_token_count(const PackedBatch& batch);
/// Which tokens those are: int64, ascending; undefined when there is no padding.
at::Tensor document_tokens(const PackedBatch& batch);
/// int64 [n]: the real length of each document, of the whole one where it is split between ranks.
at::Tensor document_lengths(const PackedBatch& batch);

/// Checks every promise above; throws Error(argument) naming the first that is broken. `vocab` bounds the
/// tokens.
void validate(const PackedBatch& batch, int64_t vocab);

/// A number of 52 bits that differs, but for chance, between batches that differ in any token, label,
/// position or boundary. The batch is valid.
int64_t fingerprint(const PackedBatch& batch);

}  // namespace tessera
