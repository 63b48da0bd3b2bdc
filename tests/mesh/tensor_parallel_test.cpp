// Tensor and sequence parallel meshes give the numbers of one rank.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "core/error.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

/// What of a model the cut over tp has to mind.
struct Shape {
  std::string name;
  ModelConfig config;
};

ModelConfig eight_heads(int64_t kv_heads, int64_t vocab) {
  ModelConfig config = tiny_config();
  config.num_heads = 8;
  config.num_kv_heads = kv_heads;
  config.vocab_size = vocab;
  return config;
}

std::vector<Shape> shapes() {
  std::vector<Shape> list;
  list.push_back({"few kv heads, odd vocabulary", eight_heads(2, 37)});
  list.push_back({"as many kv heads as heads, fewer entries than ranks", eight_heads(8, 6)});
  list.push_back({"one kv head, tied", eight_heads(1, 37)});
  list.back().config.tie_embeddings = true;
  list.push_back({"biases everywhere", eight_heads(2, 40)});
  list.back().config.qkv_bias = list.back().config.attention_bias = list.back().config.mlp_bias = true;
  list.push_back({"q and k norms, window", eight_heads(4, 37)});
  list.back().config.qk_norm = true;
  list.back().config.sliding_window = {4, 0};
  return list;
}

TrainingRun job(const ModelConfig& config, int replicate, int shard, int tp, bool sequence_parallel) {
  TrainingRun run = sgd_run(config);
  run.options.lr = 0.3;
  run.options.sequence_parallel = sequence_parallel;
  run.mesh.dp_replicate = replicate;
  run.mesh.dp_shard = shard;
  run.mesh.tp = tp;
  run.ranks = replicate * shard * tp;
  return run;
}

void expect_same(const TrainingRun& run, const TrainingOutcome& expected, const std::string& what) {
  SCOPED_TRACE(what);
  expect_outcome(run, expected, 5e-6);
}

TEST(TensorParallel, EveryShapeGivesTheOneRankResult) {
  for (const Shape& shape : shapes()) {
    const TrainingOutcome expected = train(job(shape.config, 1, 1, 1, false));
    for (const bool sequence : {false, true}) {
      for (const int tp : {2, 4, 8}) {
        expect_same(job(shape.config, 1, 1, tp, sequence), expected,
                    cat(shape.name, ", tp=", tp, " sequence=", sequence));
      }
    }
  }
}

TEST(TensorParallel, ComposesWithShardsAndReplicas) {
  const ModelConfig config = shapes()[0].config;
  const TrainingOutcome expected = train(job(config, 1, 1, 1, false));
  for (const bool sequence : {false, true}) {
    expect_same(job(config, 1, 2, 2, sequence), expected, cat("dp_shard=2 tp=2 sequence=", sequence));
    expect_same(job(config, 2, 1, 4, sequence), expected, cat("dp_replicate=2 tp=4 sequence=", sequence));
    expect_same(job(config, 2, 2, 2, sequence), expected,
                cat("dp_replicate=2 dp_shard=2 tp=2 sequence=", sequence));
    expect_same(job(config, 1, 3, 2, sequence), expected, cat("dp_shard=3 tp=2 sequence=", sequence));
  }
}

TEST(TensorParallel, MicrobatchesRecomputeAndDeferredSync) {
  const ModelConfig config = shapes()[4].config;
  const TrainingOutcome expected = train(job(config, 1, 1, 1, false));
  for (const bool sequence : {false, true}) {
    for (const Recompute recompute :
         {Recompute::none, Recompute::selective, Recompute::mlp, Recompute::full}) {
      TrainingRun run = job(config, 1, 2, 2, sequence);
      run.microbatches = 3;
      run.options.recompute = recompute;
      run.options.defer_gradient_sync = recompute == Recompute::full;
      run.options.loss_chunk = 5;
      expect_same(run, expected, cat("sequence=", sequence, " recompute=", static_cast<int>(recompute)));
    }
  }
}

TEST(TensorParallel, ContextParallelBesideIt) {
  const ModelConfig config = eight_heads(4, 37);
  const TrainingOutcome expected = train(job(config, 1, 1, 1, false));
  for (const bool sequence : {false, true}) {
    TrainingRun run = job(config, 1, 2, 2, sequence);
    run.mesh.cp = 2;
    run.ranks = 8;
    expect_same(run, expected, cat("dp_shard=2 cp=2 tp=2 sequence=", sequence));
  }
}

TEST(TensorParallel, PlansThatCutOnlyPartOfAModel) {
  const char* attention = R"({"*": "replicate", "*.q_proj": "colwise", "*.k_proj": "colwise",
                              "*.v_proj": "colwise", "*.o_proj": "rowwise"})";
  const char* mlp = R"({"*": "replicate", "*.gate_proj": "colwise", "*.up_proj": "colwise",
                        "*.down_proj": "rowwise"})";
  const char* embedding = R"({"*": "replicate", "*embed_tokens": "vocab_parallel"})";
  const char* one_layer = R"({"*": "replicate", "layers.1.mlp.gate_proj": "colwise",
                              "layers.1.mlp.up_proj": "colwise", "layers.1.mlp.down_proj": "rowwise",
                              "lm_head": "vocab_parallel"})";
  for (const bool tied : {false, true}) {
    ModelConfig config = shapes()[4].config;
    config.qkv_bias = config.attention_bias = config.mlp_bias = true;
    config.tie_embeddings = tied;
    const TrainingOutcome expected = train(job(config, 1, 1, 1, false));
    for (const char* plan : {attention, mlp, embedding, one_layer, R"({"*": "replicate"})"}) {
      for (const bool sequence : {false, true}) {
        TrainingRun run = job(config, 1, 2, 2, sequence);
        run.options.tp_plan = plan;
        expect_same(run, expected, cat(plan, " sequence=", sequence, " tied=", tied));
      }
    }
  }
}

TEST(TensorParallel, WithAdamW) {
  ModelConfig config = shapes()[0].config;
  config.tie_embeddings = true;
  TrainingRun alone = job(config, 1, 1, 1, false);
  alone.options = tiny_options();
  const TrainingOutcome expected = train(alone);
  for (const bool sequence : {false, true}) {
    TrainingRun run = job(config, 1, 2, 4, sequence);
    run.options = tiny_options();
    run.options.sequence_parallel = sequence;
    expect_same(run, expected, cat("sequence=", sequence));
  }
}

TEST(TensorParallel, CheckpointsAndExportsMoveBetweenMeshes) {
  const std::filesystem::path root = std::filesystem::path(::testing::TempDir()) / "tessera_tensor_parallel";
  std::filesystem::remove_all(root);
  const std::string saved = (root / "checkpoint").string();
  const std::string exported = (root / "export").string();
  const ModelConfig config = shapes()[0].config;
  std::vector<double> expected;
  std::map<std::string, at::Tensor> weights;
  with_trainers(job(config, 1, 2, 4, true), "", [&](Trainer& trainer, const DeviceMesh& mesh) {
    train_steps(job(config, 1, 2, 4, true), trainer, mesh, 0, 2, expected);
    trainer.save_checkpoint(saved, "");
    trainer.export_hf(exported, std::nullopt);
    for (const std::string& name : trainer.parameter_names()) {
      const at::Tensor weight = trainer.parameter(name);
      if (mesh.rank() == 0) weights[name] = weight;
    }
    train_steps(job(config, 1, 2, 4, true), trainer, mesh, 2, 4, expected);
  });
  for (const TrainingRun& run :
       {job(config, 1, 1, 1, false), job(config, 2, 1, 2, false), job(config, 1, 3, 2, true)}) {
    SCOPED_TRACE(cat(run.mesh.dp_replicate, "x", run.mesh.dp_shard, "x", run.mesh.tp));
    std::vector<double> losses;
    with_trainers(run, "", [&](Trainer& trainer, const DeviceMesh& mesh) {
      trainer.load_checkpoint(saved);
      train_steps(run, trainer, mesh, 2, 4, losses);
    });
    for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(losses[i], expected[i + 2], 2e-5 * expected[i + 2]);
    for (const bool from_rank0 : {false, true}) {
      TrainingRun other = run;
      other.options.load_from_rank0 = from_rank0;
      with_trainers(other, exported, [&](Trainer& trainer, const DeviceMesh&) {
        for (const auto& [name, weight] : weights)
          EXPECT_TRUE(at::equal(trainer.parameter(name), weight)) << name;
      });
    }
  }
  std::filesystem::remove_all(root);
}

TEST(TensorParallel, LogitsGenerationAndSettingOfParameters) {
  const ModelConfig config = shapes()[1].config;
  const PackedBatch batch = documents_batch(3, 4, config.vocab_size);
  const std::vector<int64_t> prompt = {1, 5, 2};
  GenerateOptions options;
  options.max_new_tokens = 6;
  at::Tensor logits;
  std::vector<int64_t> generated;
  const at::Tensor weight = at::arange(40 * 24, at::kFloat).view({40, 24}).mul_(1e-3);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const std::string other = "model.layers.0.mlp.down_proj.weight";
  for (const TrainingRun& run :
       {job(config, 1, 1, 1, false), job(config, 1, 2, 4, true), job(config, 1, 1, 8, false)}) {
    with_trainers(run, "", [&](Trainer& trainer, const DeviceMesh& mesh) {
      trainer.set_parameter(name, weight);
      trainer.set_parameter(other, weight.t().contiguous());
      EXPECT_TRUE(at::equal(trainer.parameter(name), weight));
      EXPECT_TRUE(at::equal(trainer.parameter(other), weight.t()));
      const at::Tensor mine = trainer.logits(batch);
      const std::vector<int64_t> text = trainer.generate(prompt, options);
      if (mesh.rank() != 0) return;
      if (!logits.defined()) {
        logits = mine;
        generated = text;
      }
      EXPECT_LT(mine.sub(logits).abs().max().item<double>(), 2e-6);
      EXPECT_EQ(text, generated);
    });
  }
}

std::string message_on_all_ranks(const ModelConfig& config, int tp) {
  std::vector<std::string> messages(tp);
  run_ranks(tp, [&](const WorldPtr& world) {
    try {
      MeshSpec spec;
      spec.tp = tp;
      Trainer trainer(std::make_shared<DeviceMesh>(world, spec), config, "", tiny_options());
    } catch (const Error& error) {
      messages[world->rank()] = error.what();
    }
  });
  for (const std::string& message : messages) EXPECT_EQ(message, messages[0]);
  return messages[0];
}

TEST(TensorParallel, SizesThatDoNotDivideAreEveryRanksError) {
  EXPECT_EQ(message_on_all_ranks(tiny_config(), 3), "tp=3 does not divide num_attention_heads=4");
  ModelConfig config = eight_heads(2, 37);
  config.intermediate_size = 42;
  EXPECT_EQ(message_on_all_ranks(config, 4), "tp=4 does not divide intermediate_size=42");
  config.num_heads = 12;
  config.num_kv_heads = 3;
  EXPECT_EQ(message_on_all_ranks(config, 2), "tp=2 and num_key_value_heads=3 do not divide one another");
}

}  // namespace
}  // namespace tessera::testing
