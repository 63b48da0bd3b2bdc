// Each exchange of context parallelism alone, against attention over the whole batch on one rank.
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <mutex>
#include <random>

#include "context/context_parallel.h"
#include "context/ulysses.h"
#include "core/error.h"
#include "data/batch_builder.h"
#include "kernels_reference.h"
#include "support/rank_processes.h"
#include "support/rank_threads.h"

namespace tessera {
namespace {

using kernels::random_tensor;

PackedBatch random_batch(std::mt19937& random, int longest) {
  BatchBuilder builder{BatchLayout{.multiple = 1 + static_cast<int64_t>(random() % 4)}};
  for (unsigned documents = 1 + random() % 4; documents > 0; --documents) {
    const std::vector<int32_t> tokens(1 + random() % static_cast<unsigned>(longest), 5);
    builder.add(tokens, tokens);
  }
  return builder.finish();
}

struct Problem {
  int cp = 2;
  int64_t heads = 4, kv_heads = 2, d = 8, window = 0;
  int64_t value_size = 0;  ///< 0: d
  double soft_cap = 0;
  bool sinks = false;
  at::ScalarType dtype = at::kFloat;
  double tolerance = 5e-6;
  ContextOptions options;
  bool gloo = false;  ///< ranks connected by sockets
};

struct Results {
  at::Tensor out, dq, dk, dv, dsinks;
};

kernels::AttentionOptions options_of(const Problem& p) {
  kernels::AttentionOptions options{.window = p.window, .soft_cap = p.soft_cap, .sinks = {}};
  if (p.sinks) options.sinks = random_tensor({p.heads}, at::kFloat, 77);
  return options;
}

/// What one rank computes; rows of padding are zero.
Results on_one_rank(const Problem& p, const PackedBatch& batch, const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v, const at::Tensor& dout) {
  const kernels::AttentionOptions options = options_of(p);
  const Attended attended = attend(q, k, v, batch, nullptr, options);
  const kernels::AttentionGrads grads = attend_backward(dout, attended.kept, batch, nullptr, options);
  return {attended.out, grads.dq, grads.dk, grads.dv, grads.dsinks};
}

std::string describe(const Problem& p) {
  return cat(context_exchange_name(p.options.exchange), "/", context_layout_name(p.options.layout),
             " cp=", p.cp, " ulysses=", p.options.ulysses, " stride=", p.options.heads_k_stride,
             " heads=", p.heads, "/", p.kv_heads, " window=", p.window, " cap=", p.soft_cap,
             " sinks=", p.sinks, " values=", p.value_size);
}

void check_exchange(const Problem& p, const PackedBatch& batch, uint64_t seed) {
  SCOPED_TRACE(cat(describe(p), " seed=", seed));
  const int64_t tokens = batch.tokens_count();
  const at::Tensor q = random_tensor({tokens, p.heads, p.d}, p.dtype, 4 * seed);
  const at::Tensor k = random_tensor({tokens, p.kv_heads, p.d}, p.dtype, 4 * seed + 1);
  const int64_t value_size = p.value_size ? p.value_size : p.d;
  const at::Tensor v = random_tensor({tokens, p.kv_heads, value_size}, p.dtype, 4 * seed + 2);
  const at::Tensor dout = random_tensor({tokens, p.heads, value_size}, p.dtype, 4 * seed + 3);
  const Results expected = on_one_rank(p, batch, q, k, v, dout);
  Results actual;
  const auto body = [&](const WorldPtr& world) {
    const DeviceMesh mesh(world, {.dp_shard = 1, .cp = p.cp});
    const ContextParallel context(mesh, p.options);
    const ContextBatch part = context.shard(batch);
    const auto mine = [&](const at::Tensor& t) { return context.gather_backward(t, part.layout, false); };
    const auto all = [&](const at::Tensor& t) { return context.gather(t, part.layout, tokens); };
    const kernels::AttentionOptions options = options_of(p);
    const at::Tensor local_q = mine(q), local_k = mine(k), local_v = mine(v);
    const Attended attended = part.plan->attend(local_q, local_k, local_v, options);
    const kernels::AttentionGrads grads = part.plan->attend_backward(mine(dout), attended.kept, options);
    const Results result{all(attended.out), all(grads.dq), all(grads.dk), all(grads.dv), grads.dsinks};
    if (p.sinks) context.group()->all_reduce({result.dsinks}, ReduceOp::sum)->wait();
    // Arguments may be read again by the caller.
    EXPECT_TRUE(kernels::same_bits(local_q, mine(q)));
    EXPECT_TRUE(kernels::same_bits(local_k, mine(k)));
    if (world->rank() == 0) actual = result;
  };
  if (p.gloo) {
    testing::run_connected(p.cp, testing::free_tcp_rendezvous(), body, "gloo");
  } else {
    testing::run_ranks(p.cp, body);
  }
  kernels::expect_close(actual.out, expected.out, p.tolerance);
  kernels::expect_close(actual.dq, expected.dq, p.tolerance);
  kernels::expect_close(actual.dk, expected.dk, p.tolerance);
  kernels::expect_close(actual.dv, expected.dv, p.tolerance);
  if (p.sinks) kernels::expect_close(actual.dsinks, expected.dsinks, p.tolerance);
}

/// Runs `body` for every exchange and layout that p.cp ranks and p's heads allow.
template <class Body>
void for_each_exchange(Problem p, const Body& body) {
  using E = ContextExchange;
  using L = ContextLayoutKind;
  for (const L layout : {L::zigzag, L::document, L::row}) {
    std::vector<ContextOptions> all = {{E::ring, layout, 0, 0},
                                       {E::all_gather, layout, 0, 0},
                                       {E::all_gather, layout, 0, 1},
                                       {E::ulysses, layout, 0, 0}};
    for (int64_t u = 2; u < p.cp; ++u) {
      if (p.cp % u != 0) continue;
      all.push_back({E::ulysses_ring, layout, u, 0});
      all.push_back({E::ulysses_all_gather, layout, u, 1});
    }
    for (const ContextOptions& options : all) {
      p.options = options;
      const int64_t u = options.exchange == E::ulysses ? p.cp : std::max<int64_t>(1, options.ulysses);
      if (p.heads % u == 0) body(p);
    }
  }
}

TEST(ContextExchange, AgreesWithOneRankOnRandomBatches) {
  std::mt19937 random(7);
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    for (const int cp : {2, 3, 4}) {
      Problem p;
      p.cp = cp;
      p.heads = cp == 3 ? 6 : 4;
      p.window = seed % 2 == 0 ? 1 + static_cast<int64_t>(random() % 40) : 0;
      const PackedBatch batch = random_batch(random, seed % 3 == 0 ? 300 : 40);
      for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, seed); });
    }
  }
}

TEST(ContextExchange, EightRanksAndDocumentsLongerThanTiles) {
  std::mt19937 random(8);
  Problem p;
  p.cp = 8;
  p.heads = 8;
  const PackedBatch batch = random_batch(random, 700);
  for (const int64_t window : {0, 64}) {
    p.window = window;
    for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 3); });
  }
}

TEST(ContextExchange, AnyNumberOfKeyHeads) {
  std::mt19937 random(9);
  const PackedBatch batch = random_batch(random, 60);
  for (const auto& [heads, kv_heads] : {std::pair{4, 1}, {4, 4}, {8, 2}, {12, 3}, {12, 6}, {12, 4}}) {
    Problem p;
    p.cp = 4;
    p.heads = heads;
    p.kv_heads = kv_heads;
    for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 5); });
  }
}

TEST(ContextExchange, Bfloat16RoundsButDoesNotDrift) {
  std::mt19937 random(10);
  const PackedBatch batch = random_batch(random, 300);
  Problem p;
  p.cp = 4;
  p.dtype = at::kBFloat16;
  p.tolerance = 4e-2;
  for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 6); });
}

TEST(ContextExchange, OverSockets) {
  std::mt19937 random(12);
  const PackedBatch batch = random_batch(random, 120);
  Problem p;
  p.cp = 4;
  p.gloo = true;
  p.window = 30;
  for_each_exchange(p, [&](const Problem& q) {
    if (q.options.layout == ContextLayoutKind::zigzag) check_exchange(q, batch, 8);  // connecting takes long
  });
}

TEST(ContextExchange, SoftCappedScores) {
  std::mt19937 random(13);
  Problem p;
  p.cp = 4;
  p.soft_cap = 0.7;
  for (const int64_t window : {0, 30}) {
    p.window = window;
    const PackedBatch batch = random_batch(random, 120);
    for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 9); });
  }
}

TEST(ContextExchange, SinksCountOnce) {
  std::mt19937 random(14);
  Problem p;
  p.cp = 4;
  p.sinks = true;
  for (const int64_t window : {0, 30}) {
    p.window = window;
    const PackedBatch batch = random_batch(random, 120);
    for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 10); });
  }
  p.options.exchange = ContextExchange::all_gather;
  p.options.heads_k_stride = 1;
  check_exchange(p, random_batch(random, 120), 11);
}

TEST(ContextExchange, ValuesOfAnotherSize) {
  std::mt19937 random(15);
  Problem p;
  p.cp = 4;
  p.d = 12;
  p.value_size = 8;
  p.sinks = true;
  p.soft_cap = 1;
  for (const int64_t kv_heads : {1, 4}) {
    p.kv_heads = kv_heads;
    const PackedBatch batch = random_batch(random, 120);
    for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 12); });
  }
}

TEST(ContextExchange, FewerTokensThanRanks) {
  BatchBuilder builder{BatchLayout{}};
  const std::vector<int32_t> one = {1};
  builder.add(one, one);
  builder.add(one, one);
  const PackedBatch batch = builder.finish();
  Problem p;
  p.cp = 4;
  for_each_exchange(p, [&](const Problem& q) { check_exchange(q, batch, 7); });
}

TEST(ContextExchange, GatherAndItsBackward) {
  std::mt19937 random(11);
  const PackedBatch batch = random_batch(random, 50);
  testing::run_ranks(4, [&](const WorldPtr& world) {
    const DeviceMesh mesh(world, {.dp_shard = 1, .cp = 4});
    const ContextParallel context(mesh, {});
    const ContextBatch part = context.shard(batch);
    const at::Tensor local = random_tensor({part.layout.local_tokens, 3}, at::kFloat, 90 + world->rank());
    const at::Tensor full = context.gather(local, part.layout, batch.tokens_count());
    // Every rank has its own gradient g_r of the gathered rows: <gather(x), g> = <x, gather_backward(g)>.
    const at::Tensor g = random_tensor({batch.tokens_count(), 3}, at::kFloat, 70 + world->rank());
    const at::Tensor back = context.gather_backward(g, part.layout, true);
    at::Tensor sums = at::zeros({2}, at::kDouble);
    sums[0] = full.mul(g).sum();
    sums[1] = local.mul(back).sum();
    world->everyone()->all_reduce({sums}, ReduceOp::sum)->wait();
    EXPECT_NEAR(sums[0].item<double>(), sums[1].item<double>(),
                1e-4 * std::abs(sums[0].item<double>()) + 1e-4);
    // A gradient that all ranks share: taking one's rows and gathering them gives it back, but for padding.
    const at::Tensor shared = random_tensor({batch.tokens_count(), 3}, at::kFloat, 5);
    const at::Tensor rows = context.gather_backward(shared, part.layout, false);
    const at::Tensor again = context.gather(rows, part.layout, batch.tokens_count());
    const at::Tensor real = context_inverse(part.layout, batch.tokens_count()).ge(0).unsqueeze(1);
    EXPECT_TRUE(kernels::same_bits(again, shared.mul(real)));
  });
}

std::string refusal(const ContextOptions& options, int64_t cp, int64_t tp, int64_t heads, int64_t kv_heads) {
  try {
    check_context_options(options, cp, tp, heads, kv_heads);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ContextOptions, WhatDoesNotDivideIsNamed) {
  using E = ContextExchange;
  const auto zigzag = ContextLayoutKind::zigzag;
  EXPECT_EQ(refusal({E::ulysses, zigzag, 0, 0}, 3, 1, 32, 8),
            "parallel.cp_exchange=ulysses: cp=3 does not divide n_heads=32");
  EXPECT_EQ(refusal({E::ulysses, zigzag, 0, 0}, 8, 8, 32, 8),
            "parallel.cp_exchange=ulysses: cp=8 times tp=8 does not divide n_heads=32");
  EXPECT_EQ(
      refusal({E::ulysses_ring, zigzag, 0, 0}, 4, 1, 32, 8),
      "parallel.cp_exchange=ulysses_ring needs parallel.cp_ulysses, the number of ranks that exchange heads");
  EXPECT_EQ(refusal({E::ulysses_ring, zigzag, 3, 0}, 4, 1, 32, 8),
            "parallel.cp_ulysses=3 does not divide cp=4");
  EXPECT_EQ(refusal({E::all_gather, zigzag, 0, 3}, 4, 1, 32, 8),
            "parallel.cp_heads_k_stride=3 does not divide the 8 key/value heads of a rank");
  EXPECT_EQ(refusal({E::ulysses, zigzag, 0, 0}, 8, 1, 32, 2), "");       // key heads are copied
  EXPECT_EQ(refusal({E::ulysses_ring, zigzag, 3, 5}, 1, 1, 32, 8), "");  // nothing to split
}

TEST(ContextOptions, HeadsGoWhereTheirQueriesAre) {
  const HeadSplit even = split_heads(8, 4, 2);
  EXPECT_EQ(even.kv, (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_FALSE(even.copies);
  const HeadSplit few = split_heads(8, 2, 4);
  EXPECT_EQ(few.kv, (std::vector<int64_t>{0, 0, 1, 1}));
  EXPECT_TRUE(few.copies);
  const HeadSplit odd = split_heads(12, 6, 4);  // borders of ranks fall inside groups of queries
  EXPECT_EQ(odd.kv_heads, 3);
  EXPECT_EQ(odd.kv, (std::vector<int64_t>{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5}));
}

}  // namespace
}  // namespace tessera
