// Families whose layers differ from Llama's give on every mesh what they give on one rank, and leave a
// checkpoint in the layout that they came in.
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using nlohmann::json;

json base(const char* architecture) {
  return {{"architectures", {architecture}},
          {"vocab_size", 37},
          {"hidden_size", 24},
          {"intermediate_size", 40},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 8},
          {"initializer_range", 0.2},
          {"query_pre_attn_scalar", 12},
          {"sliding_window_pattern", 2}};
}

/// Documents of 1 to 13 tokens, or twice as many: windows, factors by length and caps all come into play.
ModelConfig config_of(const std::string& family) {
  json config = base((family + "ForCausalLM").c_str());
  config["sliding_window"] = 5;
  if (family == "Phi3") {
    config["max_position_embeddings"] = 64;
    config["original_max_position_embeddings"] = 8;
    config["partial_rotary_factor"] = 0.75;
    config["rope_scaling"] = {
        {"type", "longrope"}, {"short_factor", {1, 1.5, 2}}, {"long_factor", {1.5, 4, 9}}};
  }
  if (family == "Gemma3") config["final_logit_softcapping"] = 4.0;
  if (family == "Gemma2") {
    config["attn_logit_softcapping"] = 1.5;
    config["final_logit_softcapping"] = 3.0;
  }
  return parse_model_config(config.dump());
}

TrainingRun run_on(const std::string& family, const Way& way) {
  TrainingRun run = sgd_run_on(config_of(family), way);
  run.documents = 48;  // so that every part of every mesh begins with a whole pair
  run.joined = 2;
  return run;
}

std::vector<Way> ways() {
  using E = ContextExchange;
  using S = PipelineSchedule;
  // pp, dp_replicate, dp_shard, cp, tp
  return {{{1, 1, 4, 1, 1, 1}},
          {{1, 2, 3, 1, 1, 1}, false, E::ring, S::one_f_one_b, Recompute::full},
          {{1, 1, 1, 1, 2, 1}, false, E::ring, S::one_f_one_b, Recompute::none},
          {{1, 1, 1, 1, 4, 1}, true},  // fewer key heads than ranks
          {{1, 1, 2, 1, 2, 1}, true, E::ring, S::one_f_one_b, Recompute::full},
          {{1, 1, 1, 2, 1, 1}, false, E::all_gather},
          {{1, 1, 1, 2, 1, 1}, false, E::ulysses},
          {{1, 1, 1, 4, 1, 1}, false, E::ring},
          {{2, 1, 1, 1, 1, 1}, false, E::ring, S::zero_bubble},
          {{4, 1, 1, 1, 1, 1}, false, E::ring, S::gpipe},
          {{2, 1, 1, 2, 2, 1}, true, E::ring, S::interleaved},
          {{1, 1, 2, 2, 2, 1}, false, E::all_gather, S::one_f_one_b, Recompute::none}};
}

void expect_one_rank_result_on_every_mesh(const std::string& family) {
  const TrainingOutcome expected = train(run_on(family, {{1, 1, 1, 1, 1, 1}}));
  EXPECT_NE(expected.losses.front(), expected.losses.back());
  for (const Way& way : ways()) {
    const MeshSpec& m = way.mesh;
    SCOPED_TRACE(cat("pp=", m.pp, " dp_replicate=", m.dp_replicate, " dp_shard=", m.dp_shard, " cp=", m.cp,
                     " tp=", m.tp, " sequence_parallel=", way.sequence_parallel));
    expect_outcome(run_on(family, way), expected);
  }
}

TEST(Families, Phi3IsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh("Phi3");
}
TEST(Families, Gemma3IsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh("Gemma3");
}
TEST(Families, Gemma2IsTheSameOnEveryMesh) {
  expect_one_rank_result_on_every_mesh("Gemma2");
}

std::string exported_by(const std::string& family, const Way& way, const std::string& directory) {
  const TrainingRun run = run_on(family, way);
  run_ranks(run.ranks, [&](const WorldPtr& world) {
    Trainer trainer(std::make_shared<DeviceMesh>(world, run.mesh), run.config, "", run.options);
    trainer.export_hf(directory, std::nullopt);
  });
  return directory;
}

at::Tensor read_whole(const CheckpointReader& reader, const std::string& name) {
  const TensorEntry& entry = reader.entry(name);
  at::Tensor out = at::empty(entry.shape, entry.dtype);
  reader.read(name, entry.shape, Box::whole(entry.shape), out);
  return out;
}

TEST(Families, Phi3ExportsFusedProjectionsFromEveryMeshAndReadsThemAgain) {
  const std::filesystem::path root =
      std::filesystem::path(::testing::TempDir()) / cat("tessera_phi3_", ::getpid());
  std::filesystem::create_directories(root);
  const std::string first = exported_by("Phi3", {{1, 1, 1, 1, 1, 1}}, root / "one");
  const CheckpointReader one(first);
  EXPECT_TRUE(one.contains("model.layers.3.self_attn.qkv_proj.weight"));
  EXPECT_FALSE(one.contains("model.layers.3.self_attn.q_proj.weight"));
  EXPECT_EQ(one.entry("model.layers.0.self_attn.qkv_proj.weight").shape, (std::vector<int64_t>{64, 24}));
  EXPECT_EQ(one.entry("model.layers.0.mlp.gate_up_proj.weight").shape, (std::vector<int64_t>{80, 24}));
  for (const Way& way : ways()) {
    SCOPED_TRACE(cat("pp=", way.mesh.pp, " dp_shard=", way.mesh.dp_shard, " tp=", way.mesh.tp));
    const CheckpointReader other(exported_by("Phi3", way, root / "other"));
    EXPECT_EQ(other.names(), one.names());
    for (const std::string& name : one.names()) {
      EXPECT_TRUE(at::equal(read_whole(one, name), read_whole(other, name))) << name;
    }
    // Read on this mesh, from rank 0's directory as from one that all see.
    for (const bool shared : {true, false}) {
      TrainingRun run = run_on("Phi3", way);
      run.options.load_from_rank0 = !shared;
      run_ranks(run.ranks, [&](const WorldPtr& world) {
        Trainer trainer(std::make_shared<DeviceMesh>(world, run.mesh), run.config, first, run.options);
        const at::Tensor qkv = read_whole(one, "model.layers.1.self_attn.qkv_proj.weight");
        const at::Tensor k = trainer.parameter("model.layers.1.self_attn.k_proj.weight");
        const at::Tensor up = trainer.parameter("model.layers.3.mlp.up_proj.weight");
        if (world->rank() != 0) return;
        EXPECT_TRUE(at::equal(k, qkv.narrow(0, 32, 16)));
        EXPECT_TRUE(
            at::equal(up, read_whole(one, "model.layers.3.mlp.gate_up_proj.weight").narrow(0, 40, 40)));
      });
    }
  }
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace tessera::testing
