// Conversions between PackedBatch and the forms other programs use: padded [B, S] rows, position ids, segment
// ids.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "data/batch_builder.h"
#include "data/packed_batch.h"

namespace tessera {

/// Padded rows as transformers takes them.
struct PaddedRows {
  at::Tensor tokens;        ///< int64 [B, S]
  at::Tensor labels;        ///< int64 [B, S] in the positions of tokens: labels[b, t] is tokens[b, t] or -100
  at::Tensor position_ids;  ///< int64 [B, S]
  at::Tensor attention_mask;  ///< int64 [B, S]: 1 on real tokens
};

/// BSHD in: row b is one document of its first lengths[b] tokens (int64 [B]); the rest is padding and keeps
/// its place, so that the batch has B*S tokens. S must be a multiple of `layout.alignment()`;
/// `layout.capacity` is not used.
PackedBatch batch_from_rows(const at::Tensor& tokens, const at::Tensor& labels, const at::Tensor& lengths,
                            const BatchLayout& layout);
/// BSHD out: one row per document, right-padded to `row_length` (0: the longest document) with `pad_token`.
/// Throws Error(argument) if a document is longer, or if its last label is not ignored (it has no position to
/// go to).
PaddedRows rows_from_batch(const PackedBatch& batch, int64_t row_length, int64_t pad_token);

/// Position-id form: a document starts wherever position_ids is 0. int64 [T] each, labels already shifted.
/// The last T - `real_tokens` tokens are padding: they are told, not guessed, because a last document of
/// length 1 looks just like one token of padding.
PackedBatch batch_from_positions(const at::Tensor& tokens, const at::Tensor& labels,
                                 const at::Tensor& position_ids, int64_t real_tokens);

/// Segment-id form: [B, S] or [T]; ids 1, 2, 3... name the documents of a row, 0 is padding; each row starts
/// anew. Labels already shifted. A row must begin with a document.
PackedBatch batch_from_segments(const at::Tensor& tokens, const at::Tensor& labels,
                                const at::Tensor& segment_ids);
/// THD form: document i is the first cu_seqlens[i+1] - cu_seqlens[i] tokens of cu_seqlens_padded[i] ..
/// cu_seqlens_padded[i+1]. int64 [n+1] each, the last of cu_seqlens_padded is T. Labels already shifted.
PackedBatch batch_from_boundaries(const at::Tensor& tokens, const at::Tensor& labels,
                                  const at::Tensor& cu_seqlens, const at::Tensor& cu_seqlens_padded);

/// The batch with other labels, int64 [T] in the positions of the tokens: they are shifted within each
/// document.
PackedBatch with_unshifted_labels(const PackedBatch& batch, const at::Tensor& labels);

/// Throws Error(argument) naming the first document that does not start and end at a multiple of `alignment`.
void check_alignment(const PackedBatch& batch, int64_t alignment);

/// int32 [T]: 1 + the number of the document in the batch on real tokens, 0 on padding.
at::Tensor segment_ids(const PackedBatch& batch);

}  // namespace tessera
