// The families with experts give on every mesh what they give on one rank, move between numbers of ep ranks
// with every bit of their weights and optimizer state, and leave a checkpoint in the layout that they came
// in.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/training_checkpoint.h"
#include "core/error.h"
#include "core/log.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using nlohmann::json;

constexpr int64_t kExperts = 8;

ModelConfig config_of(const std::string& family) {
  json config = {{"architectures", {family + "ForCausalLM"}},
                 {"vocab_size", 37},
                 {"hidden_size", 24},
                 {"intermediate_size", 16},
                 {"num_hidden_layers", 4},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"initializer_range", 0.2},
                 {"num_experts_per_tok", 3}};
  if (family == "Mixtral") config["num_local_experts"] = kExperts;
  if (family == "Qwen3Moe") config.update({{"num_experts", kExperts}, {"moe_intermediate_size", 16}});
  if (family == "GptOss") {
    config.update({{"num_local_experts", kExperts}, {"head_dim", 8}, {"sliding_window", 5}});
  }
  if (family == "Glm4Moe" || family == "DeepseekV3") {
    config.update({{"n_routed_experts", kExperts},
                   {"moe_intermediate_size", 16},
                   {"first_k_dense_replace", 1},
                   {"n_group", 4},
                   {"topk_group", 2}});
  }
  if (family == "Glm4Moe") config.update({{"head_dim", 8}, {"use_qk_norm", true}, {"attention_bias", true}});
  if (family == "DeepseekV3") {
    config.update({{"kv_lora_rank", 14},
                   {"q_lora_rank", 10},
                   {"qk_nope_head_dim", 6},
                   {"qk_rope_head_dim", 4},
                   {"v_head_dim", 9},
                   {"n_shared_experts", 2}});
  }
  return parse_model_config(config.dump());
}

struct Way {
  MeshSpec mesh;
  bool cut_experts = false;
  bool sequence_parallel = false;
  const char* travel = "all_to_all";
  ContextExchange exchange = ContextExchange::ring;
  PipelineSchedule schedule = PipelineSchedule::one_f_one_b;
  Recompute recompute = Recompute::selective;
};

std::string describe(const Way& way) {
  const MeshSpec& m = way.mesh;
  return cat("pp=", m.pp, " dp_replicate=", m.dp_replicate, " dp_shard=", m.dp_shard, " cp=", m.cp,
             " tp=", m.tp, " ep=", m.ep, " expert_tp=", way.cut_experts);
}

TrainingRun run_on(const std::string& family, const Way& way) {
  TrainingRun run = sgd_run(config_of(family), way.mesh);
  run.options.sequence_parallel = way.sequence_parallel;
  run.options.experts.split_width = way.cut_experts;
  run.options.experts.exchange = way.travel;
  run.options.context.exchange = way.exchange;
  run.options.pipeline.schedule = way.schedule;
  run.options.recompute = way.recompute;
  run.documents = 32;
  run.joined = 2;
  run.microbatches = way.mesh.pp > 1 ? 4 : 2;
  for (int layer = 0; layer < 4; ++layer) {
    if (run.config.moe.selection_bias_name.empty() || !run.config.moe.in_layer(layer)) continue;
    run.set[cat("model.layers.", layer, ".mlp.", run.config.moe.selection_bias_name)] =
        at::arange(kExperts, at::kFloat).add(layer).sin().mul(0.1);
  }
  return run;
}

const Way kOneRank = {{1, 1, 1, 1, 1, 1}};

std::vector<Way> ways() {
  using E = ContextExchange;
  using S = PipelineSchedule;
  const char* const to_all = "all_gather";
  // pp, dp_replicate, dp_shard, cp, tp, ep
  return {{{1, 1, 2, 1, 1, 2}, false, false, to_all, E::ring, S::one_f_one_b, Recompute::none},
          {{1, 1, 1, 1, 2, 2}, false, true, "all_to_all", E::ring, S::one_f_one_b, Recompute::full},
          {{1, 1, 1, 1, 2, 1}, true, false, "all_to_all", E::ring, S::one_f_one_b, Recompute::none},
          {{1, 1, 2, 1, 2, 2}, true, true, "all_to_all", E::ring, S::one_f_one_b, Recompute::full},
          {{1, 1, 1, 2, 2, 4}, false, true, to_all, E::ulysses},
          {{1, 2, 1, 2, 2, 8}, false, false, "all_to_all", E::ring},
          {{2, 1, 2, 1, 2, 4}, false, true, "all_to_all", E::ring, S::zero_bubble},
          {{2, 1, 1, 2, 2, 2}, true, true, to_all, E::all_gather, S::interleaved},
          {{2, 1, 1, 2, 2, 2}, false, false, "all_to_all", E::ring, S::one_f_one_b, Recompute::full}};
}

void expect_one_rank_result_on_every_mesh(const std::string& family) {
  const TrainingOutcome one_rank = train(run_on(family, kOneRank));
  EXPECT_NE(one_rank.losses.front(), one_rank.losses.back());
  for (const Way& way : ways()) {
    SCOPED_TRACE(describe(way));
    expect_outcome(run_on(family, way), one_rank);
  }
}

TEST(ExpertFamilies, GptOssIsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh("GptOss");
}
TEST(ExpertFamilies, Glm4MoeIsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh("Glm4Moe");
}
TEST(ExpertFamilies, DeepseekV3IsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh("DeepseekV3");
}

std::filesystem::path fresh_directory(const char* name) {
  const std::filesystem::path root =
      std::filesystem::path(::testing::TempDir()) / cat("tessera_", name, "_", ::getpid());
  std::filesystem::remove_all(root);
  std::filesystem::create_directories(root);
  return root;
}

void with_trainer(const TrainingRun& run, const std::string& weights,
                  const std::function<void(Trainer&)>& action) {
  run_ranks(run.ranks, [&](const WorldPtr& world) {
    Trainer trainer(std::make_shared<DeviceMesh>(world, run.mesh), run.config, weights, run.options);
    action(trainer);
  });
}

/// Every tensor of two training checkpoints to the last bit: weights and optimizer state.
void expect_same_checkpoint(const std::string& a, const std::string& b) {
  const TrainingCheckpoint one(a), other(b);
  ASSERT_EQ(one.names(), other.names());
  for (const std::string& name : one.names()) {
    const std::vector<int64_t>& shape = one.shape(name);
    const at::Tensor x = at::empty(shape, one.dtype(name)), y = at::empty(shape, one.dtype(name));
    one.read(name, shape, Box::whole(shape), x);
    other.read(name, shape, Box::whole(shape), y);
    EXPECT_TRUE(at::equal(x, y)) << name;
  }
}

TEST(ExpertFamilies, CheckpointsMoveBetweenNumbersOfEpRanksToTheLastBit) {
  for (const char* family : {"GptOss", "DeepseekV3"}) {
    SCOPED_TRACE(family);
    const std::filesystem::path root = fresh_directory("ep_reshard");
    const std::string saved = root / "saved";
    TrainingRun first = run_on(family, {{1, 1, 4, 1, 1, 4}});
    first.options.optimizer.name = "adamw";
    run_ranks(first.ranks, [&](const WorldPtr& world) {
      Trainer trainer(std::make_shared<DeviceMesh>(world, first.mesh), first.config, "", first.options);
      for (int step = 0; step < 2; ++step) trainer.step(step_batches(first, step, world->rank(), 4));
      trainer.save_checkpoint(saved, "two steps");
    });
    // A moment of an expert, which is cut over ep.
    const auto names = TrainingCheckpoint(saved).names();
    EXPECT_TRUE(std::any_of(names.begin(), names.end(), [](const std::string& name) {
      return name.find("experts.7.down_proj.weight") != std::string::npos && name.rfind("model.", 0) != 0;
    })) << names.size();
    for (const Way& way : std::vector<Way>{{{1, 1, 4, 1, 1, 2}},
                                           kOneRank,
                                           {{1, 1, 2, 1, 2, 4}},
                                           {{1, 1, 2, 1, 2, 2}, true},
                                           {{2, 2, 1, 1, 2, 2}}}) {
      SCOPED_TRACE(describe(way));
      TrainingRun other = run_on(family, way);
      other.options.optimizer.name = "adamw";
      other.options.seed = 99;  // everything must come from the checkpoint
      const std::string again = root / "again";
      with_trainer(other, "", [&](Trainer& trainer) {
        EXPECT_EQ(trainer.load_checkpoint(saved), "two steps");
        EXPECT_EQ(trainer.step_count(), 2);
        trainer.save_checkpoint(again, "two steps");
      });
      expect_same_checkpoint(saved, again);
    }
    std::filesystem::remove_all(root);
  }
}

at::Tensor read_whole(const CheckpointReader& reader, const std::string& name) {
  const TensorEntry& entry = reader.entry(name);
  at::Tensor out = at::empty(entry.shape, entry.dtype);
  reader.read(name, entry.shape, Box::whole(entry.shape), out);
  return out;
}

/// A weight of the last layer's last expert under the name that the family's checkpoints have, and its shape.
std::pair<const char*, std::vector<int64_t>> last_expert(const std::string& family) {
  if (family == "Mixtral") return {"model.layers.3.block_sparse_moe.experts.7.w2.weight", {24, 16}};
  if (family == "GptOss") return {"model.layers.3.mlp.experts.gate_up_proj", {kExperts, 24, 32}};
  return {"model.layers.3.mlp.experts.7.down_proj.weight", {24, 16}};
}

TEST(ExpertFamilies, ExportsOfEveryMeshAreThoseOfOneRankAndAreReadByEveryMesh) {
  for (const char* family : {"Mixtral", "Qwen3Moe", "GptOss", "Glm4Moe", "DeepseekV3"}) {
    const std::filesystem::path root = fresh_directory("ep_export");
    const auto export_from = [&](const Way& way, const std::string& weights, const std::string& name) {
      TrainingRun run = run_on(family, way);
      if (!weights.empty()) run.options.seed = 99;
      with_trainer(run, weights, [&](Trainer& trainer) { trainer.export_hf(root / name, std::nullopt); });
      return root / name;
    };
    const std::string first = export_from(kOneRank, "", "one");
    const CheckpointReader one(first);
    const auto [expert, shape] = last_expert(family);
    ASSERT_TRUE(one.contains(expert)) << expert;
    EXPECT_EQ(one.entry(expert).shape, shape);
    EXPECT_EQ(one.contains("model.layers.3.mlp.experts.0.gate_proj.weight"),
              family != std::string("GptOss") && family != std::string("Mixtral"));
    for (const Way& way : ways()) {
      SCOPED_TRACE(cat(family, " ", describe(way)));
      // Read and written on this mesh: what comes out is what came in.
      const CheckpointReader other(export_from(way, first, "other"));
      EXPECT_EQ(other.names(), one.names());
      for (const std::string& name : one.names()) {
        EXPECT_TRUE(at::equal(read_whole(one, name), read_whole(other, name))) << name;
      }
    }
    std::filesystem::remove_all(root);
  }
}

/// As the layers that predict further tokens are in published checkpoints.
TEST(ExpertFamilies, LayersBehindTheLastAreLeftOutWithOneWarning) {
  const std::filesystem::path root = fresh_directory("ep_unread");
  const std::string saved = root / "saved";
  with_trainer(run_on("Glm4Moe", kOneRank), "",
               [&](Trainer& trainer) { trainer.export_hf(saved, std::nullopt); });
  TrainingRun run = run_on("Glm4Moe", {{1, 1, 2, 1, 1, 2}});
  run.config.num_layers = 3;
  std::mutex mutex;
  std::vector<std::string> warnings;
  set_log_sink([&](LogLevel level, std::string_view text) {
    const std::lock_guard lock(mutex);
    if (level == LogLevel::warning) warnings.emplace_back(text);
  });
  for (const bool from_rank0 : {false, true}) {
    warnings.clear();
    run.options.load_from_rank0 = from_rank0;
    with_trainer(run, saved, [](Trainer&) {});
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_EQ(
        warnings[0],
        saved +
            ": left out, the model has no place for them: model.layers.3.* (40 tensors, behind the last "
            "layer)");
  }
  set_log_sink({});
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace tessera::testing
