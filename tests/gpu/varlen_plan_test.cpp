// The calls that spans become: each query sees the same keys as before, whatever the kernel's alignment.
#include "kernels/cuda/varlen_plan.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>

namespace tessera::kernels {
namespace {

using Pairs = std::multiset<std::pair<int64_t, int64_t>>;  // (query, key) that see each other

Pairs seen_in_spans(const std::vector<AttentionSpan>& spans, int64_t window) {
  Pairs seen;
  for (const AttentionSpan& s : spans) {
    for (int64_t i = 0; i < s.q_len; ++i) {
      for (int64_t j = 0; j < s.k_len; ++j) {
        const bool sees = j <= i + s.diagonal && (window == 0 || j > i + s.diagonal - window);
        if (sees) seen.insert({s.q_begin + i, s.k_begin + j});
      }
    }
  }
  return seen;
}

/// The kernel's rule, and what the plan promises of each call.
Pairs seen_in_calls(const std::vector<VarlenCall>& calls) {
  Pairs seen;
  std::multiset<int64_t> queries_with_keys;
  for (const VarlenCall& c : calls) {
    EXPECT_EQ(c.cu_q.size(), c.cu_k.size());
    for (size_t n = 0; n + 1 < c.cu_q.size(); ++n) {
      const int64_t lq = c.cu_q[n + 1] - c.cu_q[n], lk = c.cu_k[n + 1] - c.cu_k[n];
      EXPECT_TRUE(lq >= 0 && lk >= 0 && lq + lk > 0);
      EXPECT_TRUE(lq <= c.max_q && lk <= c.max_k);
      EXPECT_TRUE((lq > 0 && lk > 0) || c.has_gaps);
      for (int64_t i = 0; i < lq && lk > 0; ++i) {
        const int64_t diagonal = i + lk - lq;
        int64_t count = 0;
        for (int64_t j = 0; j < lk; ++j) {
          const bool before = c.window_left < 0 || j >= diagonal - c.window_left;
          const bool after = c.window_right < 0 || j <= diagonal + c.window_right;
          if (!before || !after) continue;
          seen.insert({c.q_begin + c.cu_q[n] + i, c.k_begin + c.cu_k[n] + j});
          ++count;
        }
        EXPECT_GT(count, 0);
        queries_with_keys.insert(c.q_begin + c.cu_q[n] + i);
      }
    }
  }
  for (int64_t q : queries_with_keys) EXPECT_EQ(queries_with_keys.count(q), 1u);
  return seen;
}

TEST(VarlenPlan, DocumentsAreOneCallWithoutGaps) {
  const std::vector<VarlenCall> calls = plan_varlen({{0, 5, 0, 5, 0}, {5, 1, 5, 1, 0}, {6, 9, 6, 9, 0}}, 0);
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].cu_q, (std::vector<int32_t>{0, 5, 6, 15}));
  EXPECT_EQ(calls[0].cu_k, calls[0].cu_q);
  EXPECT_EQ(calls[0].max_q, 9);
  EXPECT_FALSE(calls[0].has_gaps);
}

TEST(VarlenPlan, PaddingIsASequenceThatSeesNothing) {
  const std::vector<VarlenCall> calls = plan_varlen({{0, 5, 0, 5, 0}, {8, 3, 8, 3, 0}}, 0);
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].cu_q, (std::vector<int32_t>{0, 5, 8, 8, 11}));
  EXPECT_EQ(calls[0].cu_k, (std::vector<int32_t>{0, 5, 5, 8, 11}));
  EXPECT_TRUE(calls[0].has_gaps);
}

TEST(VarlenPlan, BothEndsOfADocumentOverTheSameKeysAreTwoCalls) {
  // What a rank of zigzag context parallelism holds: rows 0..3 and 12..15 of a document of 16.
  const std::vector<AttentionSpan> spans = {{0, 4, 0, 16, 0}, {4, 4, 0, 16, 12}};
  EXPECT_EQ(plan_varlen(spans, 0).size(), 2u);
}

TEST(VarlenPlan, WholeDocumentsOfOneLengthAreKnownAsSuch) {
  const auto length_of = [](const std::vector<AttentionSpan>& spans, int64_t window) {
    const std::vector<VarlenCall> calls = plan_varlen(spans, window);
    return calls.size() == 1 ? common_length(calls[0]) : -1;
  };
  const std::vector<AttentionSpan> equal = {{0, 8, 0, 8, 0}, {8, 8, 8, 8, 0}, {16, 8, 16, 8, 0}};
  EXPECT_EQ(length_of(equal, 0), 8);
  EXPECT_EQ(length_of(equal, 8), 8);  // as wide as a document
  EXPECT_EQ(length_of(equal, 7), 0);
  EXPECT_EQ(length_of({{0, 8, 0, 8, 0}, {8, 7, 8, 7, 0}}, 0), 0);
  EXPECT_EQ(length_of({{0, 8, 0, 8, 0}, {9, 8, 9, 8, 0}}, 0), 0);  // padding between them
  EXPECT_EQ(length_of({{0, 4, 0, 16, 12}}, 0), 0);                 // the end of a document
  EXPECT_EQ(common_length(VarlenCall()), 0);
}

TEST(VarlenPlan, NoCallHasMoreSequencesThanAGridHasRows) {
  std::vector<AttentionSpan> spans;
  for (int64_t i = 0; i < 2 * kMostSequences; ++i) spans.push_back({2 * i, 1, 2 * i, 1, 0});
  int64_t queries = 0;
  for (const VarlenCall& call : plan_varlen(spans, 0)) {
    EXPECT_LE(static_cast<int64_t>(call.cu_q.size()) - 1, kMostSequences);
    queries += call.q_len();
  }
  EXPECT_GE(queries, 2 * kMostSequences);
}

TEST(VarlenPlan, QueriesSeeTheSameKeysForRandomSpans) {
  std::mt19937 random(1);
  const auto draw = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int trial = 0; trial < 4000; ++trial) {
    std::vector<AttentionSpan> spans;
    int64_t q = 0;
    const int64_t keys = draw(1, 24);
    for (int64_t n = draw(0, 5); n > 0; --n) {
      q += draw(0, 1) * draw(0, 3);
      const int64_t k_begin = draw(0, keys - 1), q_len = draw(0, 8);
      spans.push_back({q, q_len, k_begin, draw(0, keys - k_begin), draw(-6, 14)});
      q += q_len;
    }
    for (int64_t window : {0, 1, 3, 7, 40}) {
      const std::vector<VarlenCall> calls = plan_varlen(spans, window);
      ASSERT_EQ(seen_in_calls(calls), seen_in_spans(spans, window))
          << "trial " << trial << " window " << window;
      for (const VarlenCall& c : calls) {
        ASSERT_GE(c.q_begin, 0);
        ASSERT_LE(c.q_begin + c.q_len(), q);
        ASSERT_LE(c.k_begin + c.k_len(), keys);
      }
    }
  }
}

TEST(VarlenPlan, ACallThatCoversAllRowsSeesTheSame) {
  // Padding in front, between and behind; queries of another length than keys.
  for (const auto& [spans, queries, keys] :
       {std::tuple{std::vector<AttentionSpan>{{3, 5, 3, 5, 0}, {10, 4, 10, 4, 0}}, int64_t{40}, int64_t{40}},
        std::tuple{std::vector<AttentionSpan>{{0, 6, 0, 6, 0}}, int64_t{6}, int64_t{6}},
        std::tuple{std::vector<AttentionSpan>{{2, 3, 5, 9, 6}}, int64_t{9}, int64_t{31}}}) {
    for (int64_t window : {0, 2}) {
      const std::vector<VarlenCall> calls = plan_varlen(spans, window);
      ASSERT_EQ(calls.size(), 1u);
      const auto all = covering(calls[0], queries, keys);
      ASSERT_TRUE(all);
      EXPECT_EQ(all->q_len(), queries);
      EXPECT_EQ(all->k_len(), keys);
      EXPECT_EQ(all->max_q, calls[0].max_q);
      EXPECT_EQ(all->max_k, calls[0].max_k);
      EXPECT_EQ(seen_in_calls({*all}), seen_in_spans(spans, window));
    }
  }
}

TEST(VarlenPlan, LongGapsAreFewSequences) {
  const std::vector<VarlenCall> calls = plan_varlen({{0, 2, 0, 2, 0}}, 0);
  const auto all = covering(calls[0], 1 << 20, 1 << 20);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->q_len(), 1 << 20);
  EXPECT_LE(all->cu_q.size(), 2100u);
  VarlenCall full = calls[0];
  full.cu_q.resize(kMostSequences);
  full.cu_k.resize(kMostSequences);
  EXPECT_FALSE(covering(full, 1 << 20, 1 << 20));
}

}  // namespace
}  // namespace tessera::kernels
