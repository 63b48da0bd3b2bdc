// Every context-parallel exchange and layout gives the numbers of one rank.
#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

/// What varies beside the mesh.
struct Case {
  int64_t window = 0;  ///< of the first layer; the second sees all
  int joined = 1;      ///< 8: one long document a step instead of 8 short ones
  int64_t kv_heads = 2;
  bool qk_norm = false;
};

TrainingRun job(const Case& c) {
  TrainingRun run = sgd_run(tiny_config());
  run.config.num_heads = 8;
  run.config.num_kv_heads = c.kv_heads;
  run.config.qk_norm = c.qk_norm;
  run.config.sliding_window = {c.window, 0};
  run.options.lr = 0.3;
  run.documents = 8;
  run.joined = c.joined;
  return run;
}

const TrainingOutcome& one_rank(const Case& c) {
  static std::map<std::tuple<int64_t, int, int64_t, bool>, TrainingOutcome> outcomes;
  const std::tuple key{c.window, c.joined, c.kv_heads, c.qk_norm};
  const auto found = outcomes.find(key);
  if (found != outcomes.end()) return found->second;
  return outcomes.emplace(key, train(job(c))).first->second;
}

void expect_same(const Case& c, const TrainingRun& run) {
  const ContextOptions& context = run.options.context;
  SCOPED_TRACE(cat(context_exchange_name(context.exchange), "/", context_layout_name(context.layout),
                   " ulysses=", context.ulysses, " stride=", context.heads_k_stride, " cp=", run.mesh.cp,
                   " dp_shard=", run.mesh.dp_shard, " window=", c.window, " joined=", c.joined,
                   " kv_heads=", c.kv_heads, " qk_norm=", c.qk_norm));
  expect_outcome(run, one_rank(c), 5e-6);
}

TrainingRun with_context(const Case& c, int cp, int dp_shard, const ContextOptions& context) {
  TrainingRun run = job(c);
  run.mesh.cp = cp;
  run.mesh.dp_shard = dp_shard;
  run.ranks = cp * dp_shard;
  run.options.context = context;
  return run;
}

constexpr ContextLayoutKind kLayouts[] = {ContextLayoutKind::zigzag, ContextLayoutKind::document,
                                          ContextLayoutKind::row};

/// Every exchange that `cp` ranks allow.
std::vector<ContextOptions> exchanges(int cp) {
  using E = ContextExchange;
  std::vector<ContextOptions> all;
  for (const ContextLayoutKind layout : kLayouts) {
    all.push_back({E::ring, layout, 0, 0});
    all.push_back({E::all_gather, layout, 0, 0});
    all.push_back({E::all_gather, layout, 0, 1});
    all.push_back({E::ulysses, layout, 0, 0});
    for (int64_t u = 2; u < cp; u *= 2) {
      all.push_back({E::ulysses_ring, layout, u, 0});
      all.push_back({E::ulysses_all_gather, layout, u, 0});
    }
  }
  return all;
}

void every_exchange(int cp, int dp_shard, const Case& c) {
  for (const ContextOptions& options : exchanges(cp)) expect_same(c, with_context(c, cp, dp_shard, options));
}

TEST(ContextParallel, PackedDocumentsOfAnyLength) {
  for (const int cp : {2, 4, 8}) every_exchange(cp, 1, {});
}

TEST(ContextParallel, OneLongDocument) {
  for (const int cp : {2, 4, 8}) every_exchange(cp, 1, {.joined = 8});
}

TEST(ContextParallel, SlidingWindows) {
  for (const int cp : {2, 4, 8}) {
    every_exchange(cp, 1, {.window = 3});
    every_exchange(cp, 1, {.window = 5, .joined = 8});
    every_exchange(cp, 1, {.window = 20, .joined = 8});
  }
}

TEST(ContextParallel, KeyHeadsFewerAndMoreThanRanks) {
  for (const int64_t kv_heads : {1, 4, 8}) {
    every_exchange(2, 1, {.joined = 4, .kv_heads = kv_heads});
    every_exchange(4, 1, {.joined = 4, .kv_heads = kv_heads});
  }
}

TEST(ContextParallel, RanksThatAreNoPowerOfTwo) {
  for (const ContextExchange exchange : {ContextExchange::ring, ContextExchange::all_gather}) {
    for (const ContextLayoutKind layout : kLayouts) {
      expect_same({}, with_context({}, 3, 1, {exchange, layout, 0, 0}));
      expect_same({.joined = 8}, with_context({.joined = 8}, 5, 1, {exchange, layout, 0, 0}));
    }
  }
}

TEST(ContextParallel, TogetherWithShardsAndReplicas) {
  for (const auto& [cp, dp_shard] : {std::pair{2, 2}, {2, 4}, {4, 2}}) every_exchange(cp, dp_shard, {});
  for (const ContextOptions& options : exchanges(2)) {
    TrainingRun run = with_context({}, 2, 1, options);
    run.mesh.dp_replicate = 2;
    run.ranks = 4;
    expect_same({}, run);
    run.mesh.dp_shard = 2;
    run.ranks = 8;
    expect_same({}, run);
  }
}

TEST(ContextParallel, RecomputeAndMicrobatches) {
  const Case c{.window = 4, .qk_norm = true};
  for (const ContextOptions& options : exchanges(4)) {
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      TrainingRun run = with_context(c, 4, 1, options);
      run.options.recompute = recompute;
      run.microbatches = 3;
      expect_same(c, run);
    }
  }
}

TEST(ContextParallel, MicrobatchesWithFewTokensOrNone) {
  const Case c;
  for (const ContextOptions& options : exchanges(8)) {
    TrainingRun run = with_context(c, 8, 1, options);
    run.microbatches = 9;  // of 8 documents, some of one token
    expect_same(c, run);
  }
}

TEST(ContextParallel, WithAdamW) {
  TrainingRun alone = job({});
  alone.options.optimizer = tiny_options().optimizer;
  alone.options.lr = tiny_options().lr;
  const TrainingOutcome expected = train(alone);
  for (const ContextOptions& options : exchanges(4)) {
    TrainingRun run = alone;
    run.mesh.cp = run.ranks = 4;
    run.mesh.dp_shard = 1;
    run.options.context = options;
    EXPECT_LT(worst_error(train(run).weights, expected.weights), 2e-4);
  }
}

TEST(ContextParallel, Bfloat16StaysCloseToFloat32) {
  const Case c{.joined = 4};
  for (const ContextOptions& options : exchanges(4)) {
    TrainingRun run = with_context(c, 4, 1, options);
    run.options.precision.param = at::kBFloat16;
    const TrainingOutcome actual = train(run);
    const TrainingOutcome& expected = one_rank(c);
    for (size_t s = 0; s < expected.losses.size(); ++s)
      EXPECT_NEAR(actual.losses[s], expected.losses[s], 0.03);
    EXPECT_LT(worst_error(actual.gradients, expected.gradients), 0.05);
  }
}

}  // namespace
}  // namespace tessera::testing
