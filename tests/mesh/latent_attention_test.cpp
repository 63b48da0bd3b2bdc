// Latent attention, with and without a latent for queries, and attention sinks give on every mesh what they
// give on one rank.
#include <gtest/gtest.h>

#include "core/error.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

ModelConfig four_heads() {
  ModelConfig config = tiny_config();
  config.num_layers = 4;
  config.sliding_window.assign(4, 0);
  config.num_heads = config.num_kv_heads = 4;
  config.attention_bias = true;
  return config;
}

ModelConfig latent_config(int64_t q_rank) {
  ModelConfig config = four_heads();
  config.latent.kv_rank = 14;
  config.latent.q_rank = q_rank;
  config.latent.plain_dim = 6;
  config.latent.rope_dim = 4;
  config.latent.value_dim = 9;
  config.head_dim = 10;
  config.latent.pairs = q_rank > 0 ? kernels::RopePairs::neighbours : kernels::RopePairs::halves;
  config.rope_scaling.kind = RopeScaling::Kind::yarn;
  config.rope_scaling.factor = 4;
  config.rope_scaling.original_max_positions = 8;
  return config;
}

/// DeepSeek-V3's layers: one dense, then experts in groups beside a shared one.
ModelConfig deepseek_config() {
  ModelConfig config = latent_config(10);
  config.moe.experts = 8;
  config.moe.intermediate_size = 16;
  config.moe.shared_intermediate_size = 16;
  config.moe.layers = {false, true, true, true};
  config.moe.routing.scoring = kernels::RoutingOptions::Scoring::sigmoid;
  config.moe.routing.top_k = 3;
  config.moe.routing.normalize = true;
  config.moe.routing.groups = 4;
  config.moe.routing.top_groups = 2;
  config.moe.float32_router = true;
  return config;
}

ModelConfig sinks_config() {
  ModelConfig config = four_heads();
  config.num_kv_heads = 2;
  config.sliding_window = {5, 0, 5, 0};
  config.qkv_bias = config.attention_sinks = true;
  return config;
}

std::vector<Way> ways() {
  using E = ContextExchange;
  using S = PipelineSchedule;
  // pp, dp_replicate, dp_shard, cp, tp
  return {{{1, 1, 4, 1, 1, 1}},
          {{1, 1, 1, 1, 2, 1}, false, E::ring, S::one_f_one_b, Recompute::none},
          {{1, 1, 1, 1, 4, 1}, false, E::ring, S::one_f_one_b, Recompute::full},
          {{1, 1, 1, 1, 4, 1}, true},
          {{1, 1, 2, 1, 2, 1}, true, E::ring, S::one_f_one_b, Recompute::full},
          {{1, 1, 1, 2, 1, 1}, false, E::all_gather},
          {{1, 1, 1, 2, 2, 1}, true, E::ulysses},
          {{1, 1, 1, 4, 1, 1}, false, E::ulysses, S::one_f_one_b, Recompute::none},
          {{1, 1, 1, 4, 1, 1}, false, E::ring},
          {{2, 1, 1, 1, 2, 1}, true, E::ring, S::zero_bubble},
          {{2, 1, 1, 2, 2, 1}, true, E::ring, S::interleaved}};
}

TrainingRun run_on(const ModelConfig& config, const Way& way) {
  TrainingRun run = sgd_run_on(config, way);
  run.joined = 2;
  return run;
}

void expect_one_rank_result_on_every_mesh(const ModelConfig& config) {
  const TrainingOutcome expected = train(run_on(config, {{1, 1, 1, 1, 1, 1}}));
  EXPECT_NE(expected.losses.front(), expected.losses.back());
  for (const Way& way : ways()) {
    const MeshSpec& m = way.mesh;
    SCOPED_TRACE(cat("pp=", m.pp, " dp_shard=", m.dp_shard, " cp=", m.cp, " tp=", m.tp,
                     " sequence_parallel=", way.sequence_parallel));
    expect_outcome(run_on(config, way), expected, 2e-5);
  }
}

TEST(LatentAttention, IsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh(latent_config(10));
}
TEST(LatentAttention, WithoutALatentForQueriesIsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh(latent_config(0));
}
TEST(LatentAttention, BesideExpertsIsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh(deepseek_config());
}
TEST(AttentionSinks, AreTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh(sinks_config());
}

}  // namespace
}  // namespace tessera::testing
