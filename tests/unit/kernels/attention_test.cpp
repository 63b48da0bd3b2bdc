// Varlen attention and its gradients against softmax written out in float64.
#include "kernels/attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

struct Case {
  int64_t heads, kv_heads, d;
  std::vector<AttentionSpan> spans;
  AttentionOptions options;
  int64_t queries, keys;
  int64_t e = 0;  ///< head size of values; 0: d

  int64_t value_size() const { return e ? e : d; }
};

struct Expected {
  at::Tensor out, lse, dq, dk, dv, dsinks;
};

/// Span by span, head by head: the definition, and its derivative by hand.
Expected reference(const Case& c, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& dout) {
  const double inf = std::numeric_limits<double>::infinity();
  Expected e{at::zeros_like(wide(dout)), at::full({c.heads, c.queries}, -inf, at::kDouble),
             at::zeros_like(wide(q)),    at::zeros_like(wide(k)),
             at::zeros_like(wide(v)),    at::zeros({c.heads}, at::kDouble)};
  const double scale = c.options.scale != 0 ? c.options.scale : 1 / std::sqrt(static_cast<double>(c.d));
  for (const AttentionSpan& s : c.spans) {
    if (s.q_len == 0 || s.k_len == 0) continue;
    const at::Tensor row = at::arange(s.q_len, at::kLong).unsqueeze(1) + s.diagonal;
    const at::Tensor column = at::arange(s.k_len, at::kLong).unsqueeze(0);
    at::Tensor hidden = column.gt(row);
    if (c.options.window > 0) hidden = hidden.logical_or(column.le(row - c.options.window));
    const at::Tensor blind = hidden.all(1, true);
    for (int64_t h = 0; h < c.heads; ++h) {
      const int64_t kh = h / (c.heads / c.kv_heads);
      const auto part = [](const at::Tensor& t, int64_t begin, int64_t len, int64_t head) {
        return wide(t).narrow(0, begin, len).select(1, head);
      };
      const at::Tensor qs = part(q, s.q_begin, s.q_len, h), ks = part(k, s.k_begin, s.k_len, kh);
      const at::Tensor vs = part(v, s.k_begin, s.k_len, kh), ds = part(dout, s.q_begin, s.q_len, h);
      at::Tensor scores = at::mm(qs, ks.t()) * scale, slope = at::ones_like(scores);
      if (const double cap = c.options.soft_cap; cap > 0) {
        slope = 1 - (scores / cap).tanh().square();
        scores = cap * (scores / cap).tanh();
      }
      scores = scores.masked_fill(hidden, -inf);
      at::Tensor lse = at::logsumexp(scores, 1);
      const at::Tensor dp = at::mm(ds, vs.t());
      if (c.options.sinks.defined()) {  // one more key, whose value is zero
        const at::Tensor sink = wide(c.options.sinks)[h].expand({s.q_len});
        lse = at::where(blind.squeeze(1), lse, at::logaddexp(lse, sink));
        const at::Tensor p = (scores - lse.unsqueeze(1)).exp().masked_fill(blind, 0);
        const at::Tensor share = (sink - lse).exp().masked_fill(blind.squeeze(1), 0);
        e.dsinks[h] += (share * (0 - (dp * p).sum(1))).sum();
      }
      const at::Tensor p = (scores - lse.unsqueeze(1)).exp().masked_fill(blind, 0);
      const at::Tensor out = at::mm(p, vs);
      const at::Tensor dscores = p * (dp - (dp * p).sum(1, true)) * slope * scale;
      e.out.narrow(0, s.q_begin, s.q_len).select(1, h).copy_(out);
      e.lse[h].narrow(0, s.q_begin, s.q_len).copy_(lse);
      e.dq.narrow(0, s.q_begin, s.q_len).select(1, h).copy_(at::mm(dscores, ks));
      e.dk.narrow(0, s.k_begin, s.k_len).select(1, kh).add_(at::mm(dscores.t(), qs));
      e.dv.narrow(0, s.k_begin, s.k_len).select(1, kh).add_(at::mm(p.t(), ds));
    }
  }
  return e;
}

void check_case(const Case& c, at::ScalarType dtype) {
  const at::Tensor q = random_tensor({c.queries, c.heads, c.d}, dtype, 1);
  const at::Tensor k = random_tensor({c.keys, c.kv_heads, c.d}, dtype, 2);
  const at::Tensor v = random_tensor({c.keys, c.kv_heads, c.value_size()}, dtype, 3);
  const at::Tensor dout = random_tensor({c.queries, c.heads, c.value_size()}, dtype, 4);
  const Expected e = reference(c, q, k, v, dout);
  const AttentionResult r = attention(q, k, v, c.spans, c.options);
  // bfloat16: the probabilities are rounded before their products
  const double tol = dtype == at::kBFloat16 ? 2e-2 : 1e-5;
  {
    SCOPED_TRACE("out");
    expect_close(r.out, e.out, tol);
  }
  {
    SCOPED_TRACE("lse");
    const at::Tensor seen = e.lse.isfinite();
    EXPECT_TRUE(at::equal(seen, r.lse.isfinite()));
    expect_close(r.lse.masked_select(seen), e.lse.masked_select(seen), dtype == at::kFloat ? 2e-6 : 1e-4,
                 1.0);
  }
  const AttentionGrads g = attention_backward(dout, q, k, v, r.out, r.lse, c.spans, c.options);
  {
    SCOPED_TRACE("dq");
    expect_close(g.dq, e.dq, tol, 1.0);
  }
  {
    SCOPED_TRACE("dk");
    expect_close(g.dk, e.dk, tol, 1.0);
  }
  {
    SCOPED_TRACE("dv");
    expect_close(g.dv, e.dv, tol, 1.0);
  }
  EXPECT_EQ(g.dsinks.defined(), c.options.sinks.defined());
  if (g.dsinks.defined()) {
    SCOPED_TRACE("dsinks");
    expect_close(g.dsinks, e.dsinks, tol, 1.0);
  }
}

Case documents(int64_t heads, int64_t kv_heads, int64_t d, std::initializer_list<int64_t> lengths,
               int64_t window = 0) {
  Case c{heads, kv_heads, d, {}, {.window = window}, 0, 0};
  for (int64_t n : lengths) {
    if (n > 0) c.spans.push_back({c.queries, n, c.queries, n, 0});
    c.queries += n;
  }
  c.keys = c.queries;
  return c;
}

std::string name_of(const Case& c, at::ScalarType dtype) {
  return cat(dtype, " heads=", c.heads, "/", c.kv_heads, " d=", c.d, "/", c.value_size(), " T=", c.queries,
             " window=", c.options.window, " cap=", c.options.soft_cap);
}

void check_both(const Case& c) {
  for_each_isa([&] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      SCOPED_TRACE(name_of(c, dtype));
      check_case(c, dtype);
    }
  });
}

TEST(Attention, OneDocument) {
  for (int64_t d : {8, 64, 80, 128}) {
    for (int64_t n : {1, 2, 33, 64, 65, 200}) check_both(documents(2, 2, d, {n}));
  }
}

TEST(Attention, DocumentsOfOddLengthsDoNotSeeEachOther) {
  check_both(documents(4, 2, 32, {1, 1, 70, 3, 129, 1, 64}));
}

TEST(Attention, GroupedKeyHeads) {
  check_both(documents(6, 1, 16, {50, 90}));
  check_both(documents(12, 4, 64, {130}));
}

TEST(Attention, SlidingWindows) {
  for (int64_t window : {1, 2, 31, 64, 100, 1000}) check_both(documents(4, 2, 32, {1, 150, 40}, window));
}

TEST(Attention, SoftCappedScores) {
  // Scores are of size 1: the small caps bend all of them, the large ones few.
  for (double cap : {0.5, 2.0, 50.0}) {
    for (int64_t window : {0, 30}) {
      Case c = documents(4, 2, 32, {1, 150, 40}, window);
      c.options.soft_cap = cap;
      check_both(c);
      check_case(c, at::kDouble);
    }
  }
  Case shifted{4, 2, 80, {{0, 40, 0, 100, 60}, {40, 30, 0, 100, 30}}, {.window = 25, .soft_cap = 1}, 70, 100};
  check_both(shifted);
  shifted.spans[1].diagonal = -10;  // some rows see nothing
  check_both(shifted);
  check_case(shifted, at::kDouble);
}

/// Sinks far below, about, and far above the scores.
Case with_sinks(Case c) {
  c.options.sinks = random_tensor({c.heads}, at::kFloat, 9);
  c.options.sinks[0] = -200;
  if (c.heads > 2) c.options.sinks[c.heads - 1] = 40;
  return c;
}

TEST(Attention, Sinks) {
  for (int64_t window : {0, 30}) {
    for (double cap : {0.0, 2.0}) {
      Case c = with_sinks(documents(4, 2, 32, {1, 150, 40}, window));
      c.options.soft_cap = cap;
      check_both(c);
      check_case(c, at::kDouble);
    }
  }
  const Case shifted = with_sinks({4, 2, 80, {{0, 40, 0, 100, 60}, {40, 30, 0, 100, -10}}, {}, 70, 100});
  check_both(shifted);  // some rows see nothing, and a sink is nothing
  check_case(shifted, at::kDouble);
}

TEST(Attention, SinksOfAnyDtype) {
  Case c = with_sinks(documents(4, 2, 32, {70}));
  c.options.sinks = c.options.sinks.to(at::kBFloat16);
  check_both(c);
}

TEST(Attention, ValuesOfAnotherSize) {
  for (auto [d, e] : {std::pair<int64_t, int64_t>{192, 128}, {24, 16}, {16, 40}, {7, 65}}) {
    Case c = documents(4, 2, d, {1, 70, 130});
    c.e = e;
    check_both(c);
    check_case(c, at::kDouble);
    c.options.window = 9;
    c.options.soft_cap = 1;
    check_both(with_sinks(c));
  }
  Case shifted{4, 2, 40, {{0, 40, 0, 100, 60}, {40, 30, 0, 100, -10}}, {}, 70, 100, 24};
  check_both(shifted);
}

TEST(Attention, ManyQueriesTakeTheCompositionInBlocks) {
  Case c = documents(2, 1, 8, {600}, 290);
  c.options.soft_cap = 2;
  check_case(c, at::kDouble);
}

TEST(Attention, ACapHoldsScoresThatWouldOverflow) {
  const at::Tensor q = random_tensor({100, 2, 32}, at::kFloat, 1, 1e20),
                   k = random_tensor({100, 2, 32}, at::kFloat, 2, 1e17);
  const AttentionOptions options{.soft_cap = 30};
  const std::vector<AttentionSpan> spans{{0, 100, 0, 100, 0}};
  const AttentionResult r = attention(q, k, q, spans, options);
  EXPECT_LE(r.lse.max().item<double>(), 30 + std::log(100.0) + 1e-3);
  const AttentionGrads g = attention_backward(k, q, k, q, r.out, r.lse, spans, options);
  EXPECT_FALSE(g.dq.isnan().any().item<bool>());
}

TEST(Attention, OddHeadSizes) {
  for (int64_t d : {1, 2, 6, 7, 36}) check_both(documents(2, 1, d, {5, 70}));
}

TEST(Attention, ShiftedSpansOfContextParallelism) {
  // The second half of a document's queries against all its keys, and a chunk that sees only keys before it.
  check_both({4, 2, 32, {{0, 40, 0, 100, 60}, {40, 30, 0, 100, 30}}, {}, 70, 100});
  check_both({4, 2, 32, {{0, 40, 0, 100, 60}}, {.window = 20}, 40, 100});
  check_both({2, 2, 32, {{0, 50, 0, 64, 500}}, {}, 50, 64});
}

TEST(Attention, RowsThatSeeNothingAreZero) {
  check_both({2, 1, 16, {{0, 30, 0, 30, -10}}, {}, 30, 30});
  check_both({2, 1, 16, {{0, 80, 0, 80, 20}}, {.window = 5}, 80, 80});
}

TEST(Attention, OtherDtypesTakeTheComposition) {
  const Case shifted{4, 2, 32, {{0, 40, 0, 100, 60}, {40, 30, 0, 100, 30}}, {}, 70, 100};
  const Case blind{2, 1, 16, {{0, 30, 0, 30, -10}}, {.window = 7}, 30, 30};
  for (const Case& c : {documents(4, 2, 32, {1, 70, 3}), documents(4, 2, 32, {70, 30}, 9), shifted, blind}) {
    SCOPED_TRACE(name_of(c, at::kDouble));
    check_case(c, at::kDouble);
  }
}

TEST(Attention, PaddingBetweenDocumentsGetsZeros) {
  const auto int32 = at::TensorOptions(at::kInt);
  const at::Tensor real = at::tensor({0, 5, 5, 12}, int32), padded = at::tensor({0, 8, 16, 24}, int32);
  const std::vector<AttentionSpan> spans = document_spans(real, padded, 24);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[1].q_begin, 16);
  EXPECT_EQ(spans[1].q_len, 7);
  const Case c{2, 1, 16, spans, {}, 24, 24};
  check_both(c);
  const at::Tensor q = random_tensor({24, 2, 16}, at::kFloat, 1),
                   k = random_tensor({24, 1, 16}, at::kFloat, 2);
  const AttentionResult r = attention(q, k, k, spans);
  EXPECT_EQ(r.out.narrow(0, 5, 11).abs().max().item<double>(), 0);
  const AttentionGrads g = attention_backward(q, q, k, k, r.out, r.lse, spans);
  EXPECT_EQ(g.dk.narrow(0, 5, 11).abs().max().item<double>(), 0);
}

TEST(Attention, ReadsSlicesOfAFusedProjection) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor qkv = random_tensor({70, 6 * 32}, dtype, 1);
    const at::Tensor q = qkv.narrow(1, 0, 128).view({70, 4, 32}),
                     k = qkv.narrow(1, 128, 32).view({70, 1, 32});
    const at::Tensor v = qkv.narrow(1, 160, 32).view({70, 1, 32}),
                     dout = random_tensor({70, 4, 32}, dtype, 2);
    const std::vector<AttentionSpan> spans{{0, 70, 0, 70, 0}};
    const AttentionResult a = attention(q, k, v, spans);
    const AttentionResult b = attention(q.contiguous(), k.contiguous(), v.contiguous(), spans);
    EXPECT_TRUE(same_bits(a.out, b.out));
    const AttentionGrads ga = attention_backward(dout, q, k, v, a.out, a.lse, spans);
    const AttentionGrads gb =
        attention_backward(dout, q.contiguous(), k.contiguous(), v.contiguous(), b.out, b.lse, spans);
    EXPECT_TRUE(same_bits(ga.dq, gb.dq) && same_bits(ga.dk, gb.dk) && same_bits(ga.dv, gb.dv));
  }
}

TEST(Attention, ReadsHeadsThatLieApart) {
  // Latent attention: keys and values of a head side by side.
  const at::Tensor kv = random_tensor({70, 2, 24 + 16}, at::kFloat, 1);
  const at::Tensor q = random_tensor({70, 4, 24}, at::kFloat, 2),
                   dout = random_tensor({70, 4, 16}, at::kFloat, 3);
  const at::Tensor k = kv.narrow(2, 0, 24), v = kv.narrow(2, 24, 16);
  const std::vector<AttentionSpan> spans{{0, 70, 0, 70, 0}};
  const AttentionResult a = attention(q, k, v, spans);
  const AttentionResult b = attention(q, k.contiguous(), v.contiguous(), spans);
  EXPECT_TRUE(same_bits(a.out, b.out));
  const AttentionGrads ga = attention_backward(dout, q, k, v, a.out, a.lse, spans);
  const AttentionGrads gb = attention_backward(dout, q, k.contiguous(), v.contiguous(), b.out, b.lse, spans);
  EXPECT_TRUE(same_bits(ga.dq, gb.dq) && same_bits(ga.dk, gb.dk) && same_bits(ga.dv, gb.dv));
}

TEST(Attention, BitsDoNotDependOnThreads) {
  const Case c = documents(4, 2, 64, {200, 3, 150});
  const at::Tensor q = random_tensor({c.queries, 4, 64}, at::kFloat, 1),
                   k = random_tensor({c.keys, 2, 64}, at::kFloat, 2);
  AttentionGrads grads[2];
  for (int i = 0; i < 2; ++i) {
    ThreadsGuard threads(i == 0 ? 1 : 4);
    const AttentionResult r = attention(q, k, k, c.spans);
    grads[i] = attention_backward(q, q, k, k, r.out, r.lse, c.spans);
  }
  EXPECT_TRUE(same_bits(grads[0].dq, grads[1].dq) && same_bits(grads[0].dk, grads[1].dk) &&
              same_bits(grads[0].dv, grads[1].dv));
}

TEST(Attention, NanStaysInItsDocument) {
  at::Tensor q = random_tensor({60, 2, 16}, at::kFloat, 1), k = random_tensor({60, 1, 16}, at::kFloat, 2);
  k[10] = std::nan("");
  const AttentionResult r = attention(q, k, k, {{0, 30, 0, 30, 0}, {30, 30, 30, 30, 0}});
  EXPECT_TRUE(r.out.narrow(0, 10, 20).isnan().all().item<bool>());
  EXPECT_FALSE(r.out.narrow(0, 30, 30).isnan().any().item<bool>());
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const at::Tensor q = random_tensor({100, 2, 32}, at::kFloat, 1, 100.0),
                   k = random_tensor({100, 2, 32}, at::kFloat, 2, 100.0);
  const AttentionResult r = attention(q, k, k, {{0, 100, 0, 100, 0}});
  EXPECT_FALSE(r.out.isnan().any().item<bool>());
  const AttentionGrads g = attention_backward(q, q, k, k, r.out, r.lse, {{0, 100, 0, 100, 0}});
  EXPECT_FALSE(g.dq.isnan().any().item<bool>());
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const at::Tensor q = at::ones({4, 4, 8}), k = at::ones({4, 2, 8});
  EXPECT_THROW(attention(q, at::ones({4, 3, 8}), at::ones({4, 3, 8}), {}), Error);
  EXPECT_THROW(attention(q, k, at::ones({4, 1, 8}), {}), Error);
  EXPECT_THROW(attention(q, k, at::ones({3, 2, 8}), {}), Error);
  EXPECT_THROW(attention(q, k, k, {}, {.sinks = at::ones({2})}), Error);
  EXPECT_THROW(attention(q, k, k, {{0, 5, 0, 4, 0}}), Error);
  EXPECT_THROW(attention(q, k, k, {{0, 4, 1, 4, 0}}), Error);
  EXPECT_THROW(attention(q, k, k, {{-1, 4, 0, 4, 0}}), Error);
  EXPECT_THROW(attention(q, k, k, {}, {.soft_cap = -1}), Error);
  EXPECT_THROW(attention(q, k, k, {}, {.soft_cap = std::nan("")}), Error);
  const auto int32 = at::TensorOptions(at::kInt);
  EXPECT_THROW(document_spans(at::tensor({0, 5, 3}, int32), at::tensor({0, 5, 8}, int32), 8), Error);
  EXPECT_THROW(document_spans(at::tensor({0, 5}, int32), at::tensor({0, 4}, int32), 8), Error);
  EXPECT_THROW(document_spans(at::tensor({0, 9}, int32), at::tensor({0, 9}, int32), 8), Error);
}

}  // namespace
}  // namespace tessera::kernels
