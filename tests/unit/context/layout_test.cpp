// Which tokens a context-parallel rank has, and what its queries see.
#include "context/layout.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "context/spans.h"
#include "core/error.h"
#include "data/batch_builder.h"

namespace tessera {
namespace {

constexpr ContextLayoutKind kKinds[] = {ContextLayoutKind::zigzag, ContextLayoutKind::document,
                                        ContextLayoutKind::row};

/// Documents of the given lengths; token t of the batch has the value 1000 + t, all are labelled.
PackedBatch batch_of(const std::vector<int>& lengths, int64_t multiple = 1) {
  BatchBuilder builder{BatchLayout{.multiple = multiple}};
  int32_t next = 1000;
  for (const int length : lengths) {
    std::vector<int32_t> tokens(static_cast<size_t>(length));
    for (int32_t& token : tokens) token = next++;
    builder.add(tokens, tokens);
  }
  return builder.finish();
}

std::vector<int64_t> values(const at::Tensor& t) {
  const int64_t* data = t.const_data_ptr<int64_t>();
  return {data, data + t.numel()};
}

std::vector<int> random_lengths(std::mt19937& random) {
  std::vector<int> lengths;
  const unsigned documents = 1 + random() % 6;
  for (unsigned i = 0; i < documents; ++i)
    lengths.push_back(1 + static_cast<int>(random() % (random() % 4 == 0 ? 90 : 12)));
  return lengths;
}

TEST(ContextLayout, DealsTheTokensThatItsPictureShows) {
  const PackedBatch batch = batch_of({8, 4});
  const auto places = [&](ContextLayoutKind kind, int rank) {
    return values(context_indices(make_context_layout(batch, kind, 2), rank));
  };
  using Places = std::vector<int64_t>;
  EXPECT_EQ(places(ContextLayoutKind::zigzag, 0), (Places{0, 1, 6, 7, 8, 11}));
  EXPECT_EQ(places(ContextLayoutKind::zigzag, 1), (Places{2, 3, 4, 5, 9, 10}));
  EXPECT_EQ(places(ContextLayoutKind::document, 0), (Places{0, 1, 2, 3, 8, 9}));
  EXPECT_EQ(places(ContextLayoutKind::document, 1), (Places{4, 5, 6, 7, 10, 11}));
  EXPECT_EQ(places(ContextLayoutKind::row, 0), (Places{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(places(ContextLayoutKind::row, 1), (Places{6, 7, 8, 9, 10, 11}));
}

TEST(ContextLayout, EveryRealTokenIsOnOneRankOnceAndTheInverseFindsIt) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const int64_t multiple = 1 + random() % 5;
    const PackedBatch batch = batch_of(random_lengths(random), multiple);
    const int size = 1 + static_cast<int>(random() % 9);
    for (const ContextLayoutKind kind : kKinds) {
      const ContextLayout layout = make_context_layout(batch, kind, size, 1 + trial % 3);
      EXPECT_EQ(layout.local_tokens % (1 + trial % 3), 0);
      const std::vector<int64_t> inverse = values(context_inverse(layout, batch.tokens_count()));
      std::vector<int> seen(static_cast<size_t>(batch.tokens_count()), 0);
      for (int rank = 0; rank < size; ++rank) {
        const std::vector<int64_t> places = values(context_indices(layout, rank));
        ASSERT_EQ(static_cast<int64_t>(places.size()), layout.local_tokens);
        for (size_t t = 0; t < places.size(); ++t) {
          if (places[t] < 0) continue;
          ++seen[static_cast<size_t>(places[t])];
          EXPECT_EQ(inverse[static_cast<size_t>(places[t])],
                    rank * layout.local_tokens + static_cast<int64_t>(t));
        }
      }
      for (int64_t t = 0; t < batch.tokens_count(); ++t) {
        const bool real = batch.tokens.const_data_ptr<int64_t>()[t] >= 1000;
        ASSERT_EQ(seen[static_cast<size_t>(t)], real ? 1 : 0) << context_layout_name(kind) << " " << t;
        ASSERT_EQ(inverse[static_cast<size_t>(t)] >= 0, real);
      }
    }
  }
}

TEST(ContextLayout, WastesNoMoreThanATokenOrTwoHoweverManyDocuments) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<int> lengths;
    for (int i = 0; i < 200; ++i) lengths.push_back(1 + static_cast<int>(random() % 7));
    const PackedBatch batch = batch_of(lengths);
    for (const ContextLayoutKind kind : kKinds) {
      const int64_t fair = (batch.tokens_count() + 7) / 8;
      EXPECT_LE(make_context_layout(batch, kind, 8).local_tokens, fair + 2) << context_layout_name(kind);
    }
  }
}

/// Pairs of query and key that causal attention computes on a rank.
int64_t work_of(const ContextLayout& layout, int rank) {
  int64_t pairs = 0;
  for (const ContextPiece& piece : layout.pieces[static_cast<size_t>(rank)])
    for (int64_t t = 0; t < piece.length; ++t) pairs += piece.position + t + 1;
  return pairs;
}

TEST(ContextLayout, ZigzagBalancesCausalWork) {
  const PackedBatch batch = batch_of({4000, 37, 1203, 255});
  const ContextLayout zigzag = make_context_layout(batch, ContextLayoutKind::zigzag, 4);
  const ContextLayout contiguous = make_context_layout(batch, ContextLayoutKind::document, 4);
  for (int rank = 1; rank < 4; ++rank) {
    EXPECT_NEAR(static_cast<double>(work_of(zigzag, rank)) / static_cast<double>(work_of(zigzag, 0)), 1,
                0.01);
  }
  EXPECT_GT(work_of(contiguous, 3), 5 * work_of(contiguous, 0));
}

TEST(ContextLayout, ShardsKeepLabelsPositionsAndCounts) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 100; ++trial) {
    PackedBatch batch = batch_of(random_lengths(random), 1 + trial % 4);
    int64_t* labels = batch.labels.mutable_data_ptr<int64_t>();
    for (int64_t t = 0; t < batch.tokens_count(); ++t) {
      if (labels[t] == kIgnoredLabel || random() % 3 != 0) continue;
      labels[t] = kIgnoredLabel;
      --batch.label_count;
    }
    const int size = 1 + static_cast<int>(random() % 8);
    for (const ContextLayoutKind kind : kKinds) {
      const ContextLayout layout = make_context_layout(batch, kind, size);
      int64_t count = 0;
      for (int rank = 0; rank < size; ++rank) {
        const PackedBatch local = shard_batch(batch, layout, rank);
        const std::vector<int64_t> places = values(context_indices(layout, rank));
        count += local.label_count;
        EXPECT_EQ(local.max_seqlen, batch.max_seqlen);
        EXPECT_EQ(local.cu_seqlens_padded[-1].item<int64_t>(), layout.local_tokens);
        for (size_t t = 0; t < places.size(); ++t) {
          const auto here = static_cast<int64_t>(t);
          const auto value = [&](const at::Tensor& of, int64_t at) {
            return of.const_data_ptr<int64_t>()[at];
          };
          if (places[t] < 0) {
            EXPECT_EQ(value(local.labels, here), kIgnoredLabel);
            continue;
          }
          EXPECT_EQ(value(local.tokens, here), value(batch.tokens, places[t]));
          EXPECT_EQ(value(local.labels, here), value(batch.labels, places[t]));
          EXPECT_EQ(value(local.position_ids, here), value(batch.position_ids, places[t]));
        }
      }
      EXPECT_EQ(count, batch.label_count);
    }
  }
}

TEST(ContextLayout, MergedPiecesAreInTheOrderOfDocuments) {
  const PackedBatch batch = batch_of({9, 1, 30, 4});
  for (const ContextLayoutKind kind : kKinds) {
    const ContextLayout layout = make_context_layout(batch, kind, 4);
    const MergedPieces all = merge_pieces(layout, 0, 4);
    EXPECT_EQ(all.pieces.size(), 4u);  // each document whole
    EXPECT_EQ(all.order.numel(), batch.tokens_count());
    std::vector<int64_t> places;
    for (int rank = 0; rank < 4; ++rank) {
      const std::vector<int64_t> some = values(context_indices(layout, rank));
      places.insert(places.end(), some.begin(), some.end());
    }
    for (int64_t t = 0; t < batch.tokens_count(); ++t)
      EXPECT_EQ(places[static_cast<size_t>(values(all.order)[static_cast<size_t>(t)])], t);
    EXPECT_EQ(all.in_place, kind == ContextLayoutKind::row);
    const ContextLayout pairs = merge_ranks(layout, 2);
    EXPECT_EQ(pairs.size(), 2);
    EXPECT_GE(2 * pairs.local_tokens, batch.tokens_count());
  }
}

TEST(ContextLayout, AnEmptyBatchHasNoTokens) {
  for (const ContextLayoutKind kind : kKinds) {
    const ContextLayout layout = make_context_layout({}, kind, 4);
    EXPECT_EQ(layout.local_tokens, 0);
    EXPECT_EQ(shard_batch({}, layout, 3).tokens_count(), 0);
  }
}

TEST(ContextLayout, FewerTokensThanRanksLeaveSomeWithPadding) {
  const PackedBatch batch = batch_of({1, 1, 1});
  for (const ContextLayoutKind kind : kKinds) {
    const ContextLayout layout = make_context_layout(batch, kind, 8);
    EXPECT_EQ(layout.local_tokens, 1) << context_layout_name(kind);
    int64_t real = 0;
    for (int rank = 0; rank < 8; ++rank) real += shard_batch(batch, layout, rank).label_count;
    EXPECT_EQ(real, 3);
  }
}

/// (query, key) pairs of places in the batch that the spans allow, each as often as it is allowed.
std::vector<std::pair<int64_t, int64_t>> pairs_of(const SpanPasses& passes, int64_t window,
                                                  const std::vector<int64_t>& queries,
                                                  const std::vector<int64_t>& keys) {
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (const std::vector<kernels::AttentionSpan>& spans : passes) {
    std::vector<char> used(queries.size(), 0);
    for (const kernels::AttentionSpan& s : spans) {
      for (int64_t i = 0; i < s.q_len; ++i) {
        EXPECT_FALSE(used[static_cast<size_t>(s.q_begin + i)]++) << "a query is in two spans of one pass";
        for (int64_t j = 0; j < s.k_len; ++j) {
          if (j > i + s.diagonal || (window > 0 && j <= i + s.diagonal - window)) continue;
          pairs.emplace_back(queries[static_cast<size_t>(s.q_begin + i)],
                             keys[static_cast<size_t>(s.k_begin + j)]);
        }
      }
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

TEST(ContextSpans, AllRanksTogetherSeeEachPairOfOneDocumentOnce) {
  std::mt19937 random(4);
  for (int trial = 0; trial < 150; ++trial) {
    const PackedBatch batch = batch_of(random_lengths(random), 1 + trial % 3);
    const int size = 1 + static_cast<int>(random() % 6);
    const int64_t window = random() % 2 == 0 ? 0 : 1 + random() % 15;
    std::vector<std::pair<int64_t, int64_t>> expected;
    const int32_t* real = batch.cu_seqlens.const_data_ptr<int32_t>();
    const int32_t* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
    for (int64_t d = 0; d < batch.documents(); ++d) {
      for (int64_t i = 0; i < real[d + 1] - real[d]; ++i) {
        for (int64_t j = window > 0 ? std::max<int64_t>(0, i - window + 1) : 0; j <= i; ++j)
          expected.emplace_back(padded[d] + i, padded[d] + j);
      }
    }
    std::sort(expected.begin(), expected.end());
    for (const ContextLayoutKind kind : kKinds) {
      const ContextLayout layout = make_context_layout(batch, kind, size);
      std::vector<std::pair<int64_t, int64_t>> actual;
      for (int a = 0; a < size; ++a) {
        for (int b = 0; b < size; ++b) {
          const SpanPasses passes = visible_spans(layout.pieces[a], layout.pieces[b], window);
          const auto pairs = pairs_of(passes, window, values(context_indices(layout, a)),
                                      values(context_indices(layout, b)));
          actual.insert(actual.end(), pairs.begin(), pairs.end());
          if (window == 0) {  // a zigzag pair of chunks is one stretch
            EXPECT_LE(passes.size(), 1u);
          }
        }
      }
      std::sort(actual.begin(), actual.end());
      ASSERT_EQ(actual, expected) << context_layout_name(kind) << " size=" << size << " window=" << window;
    }
  }
}

}  // namespace
}  // namespace tessera
