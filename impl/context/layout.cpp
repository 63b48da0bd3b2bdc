// Dealing the tokens of a batch to the ranks of a context-parallel group.
#include "context/layout.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <tuple>

#include "core/error.h"

namespace tessera {
namespace {

std::vector<ContextLayout::Document> documents_of(const PackedBatch& batch) {
  std::vector<ContextLayout::Document> documents;
  if (batch.tokens_count() == 0) return documents;
  TESSERA_CHECK(batch.cu_seqlens.dim() == 1 && batch.cu_seqlens.sizes() == batch.cu_seqlens_padded.sizes() &&
                    batch.cu_seqlens.scalar_type() == at::kInt &&
                    batch.cu_seqlens_padded.scalar_type() == at::kInt,
                argument, "cu_seqlens and cu_seqlens_padded must be int32 [documents + 1] alike");
  const at::Tensor real = batch.cu_seqlens.contiguous(), padded = batch.cu_seqlens_padded.contiguous();
  const int32_t* r = real.const_data_ptr<int32_t>();
  const int32_t* p = padded.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < batch.documents(); ++i) {
    const int64_t length = int64_t{r[i + 1]} - r[i], slot = int64_t{p[i + 1]} - p[i];
    TESSERA_CHECK(length >= 0 && slot >= length && p[i] >= 0 && p[i + 1] <= batch.tokens_count(), argument,
                  "document ", i, " has ", length, " tokens in ", slot, " places from ", p[i], ", of ",
                  batch.tokens_count(), " tokens in all");
    documents.push_back({p[i], length});
  }
  return documents;
}

/// Deals chunk c of every document to rank_of(c), in the order of chunks.
template <class RankOf>
void deal_chunks(ContextLayout& layout, int64_t chunks, RankOf rank_of) {
  std::vector<int64_t> filled(layout.pieces.size(), 0);
  int64_t turn = 0;  // the chunk that gets the next odd token
  for (size_t i = 0; i < layout.documents.size(); ++i) {
    const int64_t length = layout.documents[i].length, odd = length % chunks;
    int64_t position = 0;
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t extra = (c - turn + chunks) % chunks < odd ? 1 : 0;
      const int64_t n = length / chunks + extra;
      const auto rank = static_cast<size_t>(rank_of(c));
      if (n > 0) layout.pieces[rank].push_back({static_cast<int64_t>(i), position, filled[rank], n});
      filled[rank] += n;
      position += n;
    }
    turn = (turn + odd) % chunks;
  }
  layout.local_tokens = *std::max_element(filled.begin(), filled.end());
}

void deal_row(ContextLayout& layout) {
  int64_t total = 0;
  for (const ContextLayout::Document& document : layout.documents) total += document.length;
  const auto size = static_cast<int64_t>(layout.pieces.size());
  layout.local_tokens = (total + size - 1) / size;
  int64_t at = 0;
  for (size_t i = 0; i < layout.documents.size(); ++i) {
    for (int64_t position = 0; position < layout.documents[i].length;) {
      const int64_t rank = at / layout.local_tokens, begin = at % layout.local_tokens;
      const int64_t n = std::min(layout.documents[i].length - position, layout.local_tokens - begin);
      layout.pieces[static_cast<size_t>(rank)].push_back({static_cast<int64_t>(i), position, begin, n});
      position += n;
      at += n;
    }
  }
}

/// Joins pieces that continue each other in document and place.
void append_piece(std::vector<ContextPiece>& pieces, const ContextPiece& piece) {
  if (!pieces.empty()) {
    ContextPiece& last = pieces.back();
    if (last.document == piece.document && last.end() == piece.position &&
        last.begin + last.length == piece.begin) {
      last.length += piece.length;
      return;
    }
  }
  pieces.push_back(piece);
}

void join_neighbours(std::vector<ContextPiece>& pieces) {
  std::vector<ContextPiece> joined;
  for (const ContextPiece& piece : pieces) append_piece(joined, piece);
  pieces = std::move(joined);
}

at::Tensor boundaries(const std::vector<int32_t>& values) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::dtype(at::kInt));
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int32_t>());
  return out;
}

/// Boundaries of what a rank has of each document; padding goes to the last.
void set_boundaries(PackedBatch& local, const ContextLayout& layout,
                    const std::vector<ContextPiece>& pieces) {
  std::vector<int32_t> real{0};
  std::vector<int64_t> whole;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && pieces[i].document == pieces[i - 1].document) {
      real.back() += static_cast<int32_t>(pieces[i].length);
    } else {
      real.push_back(real.back() + static_cast<int32_t>(pieces[i].length));
      whole.push_back(layout.documents[static_cast<size_t>(pieces[i].document)].length);
    }
  }
  const auto tokens = static_cast<int32_t>(local.tokens.numel());
  if (pieces.empty()) {
    real.push_back(std::min(1, tokens));
    whole.push_back(0);
  }
  std::vector<int32_t> padded = real;
  padded.back() = tokens;
  local.cu_seqlens = boundaries(real);
  local.cu_seqlens_padded = boundaries(padded);
  local.whole_lengths = at::empty({static_cast<int64_t>(whole.size())}, at::dtype(at::kLong));
  std::copy(whole.begin(), whole.end(), local.whole_lengths.mutable_data_ptr<int64_t>());
}

}  // namespace

std::string_view context_layout_name(ContextLayoutKind kind) {
  constexpr std::string_view kNames[] = {"zigzag", "document", "row"};
  return kNames[static_cast<int>(kind)];
}

ContextLayout make_context_layout(const PackedBatch& batch, ContextLayoutKind kind, int size,
                                  int64_t multiple) {
  TESSERA_CHECK(size >= 1 && multiple >= 1, argument, "a context layout of ", size,
                " ranks with token counts that are multiples of ", multiple);
  ContextLayout layout;
  layout.documents = documents_of(batch);
  layout.pieces.resize(static_cast<size_t>(size));
  const int64_t chunks = 2 * int64_t{size};
  switch (kind) {
    case ContextLayoutKind::zigzag:
      deal_chunks(layout, chunks, [&](int64_t c) { return c < size ? c : chunks - 1 - c; });
      break;
    case ContextLayoutKind::document:
      deal_chunks(layout, size, [](int64_t c) { return c; });
      break;
    case ContextLayoutKind::row:
      deal_row(layout);
      break;
  }
  for (std::vector<ContextPiece>& pieces : layout.pieces) join_neighbours(pieces);
  layout.local_tokens = (layout.local_tokens + multiple - 1) / multiple * multiple;
  return layout;
}

at::Tensor context_indices(const ContextLayout& layout, int rank) {
  at::Tensor out = at::full({layout.local_tokens}, -1, at::dtype(at::kLong));
  int64_t* to = out.mutable_data_ptr<int64_t>();
  for (const ContextPiece& piece : layout.pieces.at(static_cast<size_t>(rank))) {
    const int64_t from = layout.documents[static_cast<size_t>(piece.document)].begin + piece.position;
    for (int64_t t = 0; t < piece.length; ++t) to[piece.begin + t] = from + t;
  }
  return out;
}

at::Tensor context_inverse(const ContextLayout& layout, int64_t tokens) {
  at::Tensor out = at::full({tokens}, -1, at::dtype(at::kLong));
  int64_t* to = out.mutable_data_ptr<int64_t>();
  for (int rank = 0; rank < layout.size(); ++rank) {
    for (const ContextPiece& piece : layout.pieces[static_cast<size_t>(rank)]) {
      const int64_t at = layout.documents[static_cast<size_t>(piece.document)].begin + piece.position;
      const int64_t from = rank * layout.local_tokens + piece.begin;
      for (int64_t t = 0; t < piece.length; ++t) to[at + t] = from + t;
    }
  }
  return out;
}

PackedBatch shard_batch(const PackedBatch& batch, const ContextLayout& layout, int rank) {
  PackedBatch local;
  if (layout.local_tokens == 0) return local;
  const auto options = at::dtype(at::kLong);
  local.tokens = at::zeros({layout.local_tokens}, options);
  local.labels = at::full({layout.local_tokens}, kIgnoredLabel, options);
  local.position_ids = at::zeros({layout.local_tokens}, options);
  local.max_seqlen = batch.max_seqlen;
  const auto copy = [&](const at::Tensor& from, const at::Tensor& to, const ContextPiece& piece) {
    const int64_t begin = layout.documents[static_cast<size_t>(piece.document)].begin + piece.position;
    std::copy_n(from.const_data_ptr<int64_t>() + begin, piece.length,
                to.mutable_data_ptr<int64_t>() + piece.begin);
  };
  const std::vector<ContextPiece>& pieces = layout.pieces.at(static_cast<size_t>(rank));
  for (const ContextPiece& piece : pieces) {
    copy(batch.tokens, local.tokens, piece);
    copy(batch.labels, local.labels, piece);
    copy(batch.position_ids, local.position_ids, piece);
  }
  const int64_t* labels = local.labels.const_data_ptr<int64_t>();
  local.label_count = layout.local_tokens - std::count(labels, labels + layout.local_tokens, kIgnoredLabel);
  set_boundaries(local, layout, pieces);
  return local;
}

MergedPieces merge_pieces(const ContextLayout& layout, int first, int count) {
  struct Source {
    ContextPiece piece;
    int rank;
  };
  std::vector<Source> sources;
  int64_t tokens = 0;
  for (int r = 0; r < count; ++r) {
    for (const ContextPiece& piece : layout.pieces.at(static_cast<size_t>(first + r))) {
      sources.push_back({piece, r});
      tokens += piece.length;
    }
  }
  std::sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) {
    return std::tie(a.piece.document, a.piece.position) < std::tie(b.piece.document, b.piece.position);
  });
  MergedPieces merged;
  merged.order = at::empty({tokens}, at::dtype(at::kLong));
  merged.in_place = true;
  int64_t* order = merged.order.mutable_data_ptr<int64_t>();
  int64_t at = 0;
  for (const Source& source : sources) {
    append_piece(merged.pieces, {source.piece.document, source.piece.position, at, source.piece.length});
    const int64_t from = source.rank * layout.local_tokens + source.piece.begin;
    for (int64_t t = 0; t < source.piece.length; ++t) order[at + t] = from + t;
    merged.in_place = merged.in_place && from == at;
    at += source.piece.length;
  }
  return merged;
}

ContextLayout merge_ranks(const ContextLayout& layout, int count) {
  TESSERA_CHECK(count >= 1 && layout.size() % count == 0, argument, "groups of ", count, " of ",
                layout.size(), " ranks");
  ContextLayout merged;
  merged.documents = layout.documents;
  for (int first = 0; first < layout.size(); first += count) {
    MergedPieces group = merge_pieces(layout, first, count);
    merged.local_tokens = std::max(merged.local_tokens, group.order.numel());
    merged.pieces.push_back(std::move(group.pieces));
  }
  return merged;
}

}  // namespace tessera
