// What packing must not change: the loss and the gradients of the same documents, and any document by
// another.
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "core/error.h"
#include "data/dataset.h"
#include "data/document_store.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

constexpr int64_t kVocab = 37;

std::shared_ptr<const DocumentStore> documents() {
  DocumentStoreBuilder builder(24, LongDocuments::error);
  std::mt19937 random(3);
  for (int i = 0; i < 40; ++i) {
    std::vector<int32_t> tokens(1 + random() % 24);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % kVocab);
    std::vector<int32_t> labels = tokens;
    for (int32_t& label : labels) {
      if (random() % 3 == 0) label = static_cast<int32_t>(kIgnoredLabel);
    }
    builder.add(tokens, labels);
  }
  return builder.finish();
}

/// A mesh, and whether documents are aligned to its cp ranks.
struct Layout {
  MeshSpec mesh = {1, 1, 1, 1, 1, 1};
  bool align = false;
};

/// All rows of one pass that a data-parallel rank takes, as the micro-batches of one step.
std::vector<PackedBatch> one_pass(const std::string& packing, const Layout& layout, int64_t dp_rank) {
  DatasetOptions options;
  options.seq_len = 24;
  options.packing = packing;
  options.vocab_size = kVocab;
  options.global_batch = 4;
  options.micro_batch = 2;
  options.epochs = 1;
  options.dp_rank = dp_rank;
  options.dp_size = layout.mesh.dp_replicate * layout.mesh.dp_shard;
  if (layout.align) options.cp = layout.mesh.cp;
  options.prefetch = 0;
  const std::unique_ptr<Dataset> dataset = open_documents(options, documents());
  std::vector<PackedBatch> all;
  for (std::vector<PackedBatch> step; dataset->next(step);) all.insert(all.end(), step.begin(), step.end());
  return all;
}

struct Pass {
  int64_t labels = 0;
  double evaluated = 0;
  double trained = 0;
  double norm = 0;
  std::map<std::string, at::Tensor> gradients;
};

Pass pass_over(const std::string& packing, const Layout& layout = {}) {
  Pass pass;
  const MeshSpec& mesh = layout.mesh;
  const int ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
  run_ranks(ranks, [&](const WorldPtr& world) {
    const auto device_mesh = std::make_shared<DeviceMesh>(world, mesh);
    const std::vector<PackedBatch> batches = one_pass(packing, layout, device_mesh->index("dp"));
    Trainer trainer(device_mesh, tiny_config(), "", tiny_options());
    const EvalMetrics evaluated = trainer.evaluate(batches);
    const StepMetrics trained = trainer.forward_backward(batches);
    std::map<std::string, at::Tensor> gradients;
    for (const std::string& name : trainer.parameter_names()) gradients[name] = trainer.gradient(name);
    const double norm = trainer.optimizer_step().grad_norm;
    if (world->rank() == 0) pass = {evaluated.label_tokens, evaluated.loss, trained.loss, norm, gradients};
  });
  return pass;
}

TEST(Packing, EveryPackerGivesTheLossAndTheGradientsOfSingleDocumentsOnEveryMesh) {
  const Pass expected = pass_over("none");
  EXPECT_GT(expected.labels, 150);
  const std::vector<Layout> layouts = {{},
                                       {{1, 1, 2, 1, 1, 1}},
                                       {{1, 1, 1, 1, 2, 1}},
                                       {{1, 1, 1, 2, 1, 1}},
                                       {{1, 1, 1, 2, 1, 1}, true},
                                       {{2, 1, 1, 2, 1, 1}},
                                       {{1, 1, 2, 2, 1, 1}, true}};
  for (const char* packer : {"none", "next_fit", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    for (const Layout& layout : layouts) {
      const MeshSpec& m = layout.mesh;
      SCOPED_TRACE(cat(packer, " pp=", m.pp, " dp=", m.dp_shard, " cp=", m.cp, layout.align ? " aligned" : "",
                       " tp=", m.tp));
      const Pass packed = pass_over(packer, layout);
      EXPECT_EQ(packed.labels, expected.labels);
      EXPECT_NEAR(packed.evaluated, expected.evaluated, 1e-6 * expected.evaluated);
      EXPECT_NEAR(packed.trained, expected.trained, 1e-6 * expected.trained);
      EXPECT_NEAR(packed.norm, expected.norm, 1e-5 * expected.norm);
      EXPECT_LT(worst_error(packed.gradients, expected.gradients), 5e-6);
    }
  }
}

// A document that goes on in the next pack loses what came before: the loss is another one, but every label
// is learnt once.
TEST(Packing, SplittingDocumentsKeepsEveryLabel) {
  EXPECT_EQ(pass_over("next_fit_split").labels, pass_over("none").labels);
  EXPECT_EQ(pass_over("next_fit_split", {{1, 1, 2, 2, 1, 1}, true}).labels, pass_over("none").labels);
}

/// A kind of attention, and a mesh that computes it.
struct Path {
  std::string name;
  TrainingRun run;
};

ModelConfig config_of(int64_t kv_heads, std::vector<int64_t> windows, bool qk_norm, const char* family) {
  ModelConfig config = tiny_config();
  config.architecture = family;
  config.num_heads = 8;
  config.num_kv_heads = kv_heads;
  config.sliding_window = std::move(windows);
  config.qk_norm = qk_norm;
  return config;
}

Path path(const std::string& name, const ModelConfig& config, const MeshSpec& mesh = {1, 1, 1, 1, 1, 1}) {
  Path out{name, {}};
  out.run.config = config;
  out.run.options = tiny_options();
  out.run.mesh = mesh;
  out.run.ranks = static_cast<int>(mesh.pp * mesh.dp_shard * mesh.cp * mesh.tp);
  return out;
}

ModelConfig latent_config() {
  ModelConfig config = config_of(8, {0, 0}, false, "DeepseekV3ForCausalLM");
  config.latent.kv_rank = 14;
  config.latent.q_rank = 10;
  config.latent.plain_dim = 6;
  config.latent.rope_dim = 4;
  config.latent.value_dim = 9;
  config.head_dim = 10;
  return config;
}

std::vector<Path> paths() {
  const ModelConfig grouped = config_of(2, {0, 0}, false, "LlamaForCausalLM");
  const ModelConfig windowed = config_of(2, {3, 7}, false, "MistralForCausalLM");
  ModelConfig sinks = config_of(2, {5, 0}, false, "GptOssForCausalLM");
  sinks.attention_sinks = true;
  ModelConfig capped = config_of(2, {5, 0}, false, "Gemma2ForCausalLM");
  capped.attention_soft_cap = 2.0;
  const std::vector<std::pair<std::string, ModelConfig>> kinds = {{"grouped heads", grouped},
                                                                  {"windows", windowed},
                                                                  {"sinks", sinks},
                                                                  {"capped scores", capped},
                                                                  {"latents", latent_config()}};
  std::vector<Path> list = {
      path("one key head", config_of(1, {0, 0}, false, "LlamaForCausalLM")),
      path("all key heads", config_of(8, {0, 0}, false, "Qwen2ForCausalLM")),
      path("query and key norms", config_of(2, {0, 4}, true, "Qwen3ForCausalLM")),
      path("pipeline", grouped, {2, 1, 1, 1, 1, 1}),
  };
  for (const auto& [kind, config] : kinds) {
    list.push_back(path(kind, config));
    list.push_back(path(kind + ", tensor parallel", config, {1, 1, 1, 1, 2, 1}));
    for (const ContextExchange exchange :
         {ContextExchange::ring, ContextExchange::all_gather, ContextExchange::ulysses,
          ContextExchange::ulysses_ring, ContextExchange::ulysses_all_gather}) {
      const bool both = exchange >= ContextExchange::ulysses_ring;
      list.push_back(
          path(cat(kind, ", ", context_exchange_name(exchange)), config, {1, 1, 1, both ? 4 : 2, 1, 1}));
      list.back().run.options.context.exchange = exchange;
      if (both) list.back().run.options.context.ulysses = 2;
    }
  }
  for (const ContextLayoutKind layout : {ContextLayoutKind::document, ContextLayoutKind::row}) {
    list.push_back(path(cat("layout ", static_cast<int>(layout)), windowed, {1, 1, 1, 2, 1, 1}));
    list.back().run.options.context.layout = layout;
  }
  list.push_back(path("four axes", grouped, {2, 1, 1, 2, 2, 1}));
  list.back().run.options.sequence_parallel = true;
  return list;
}

struct Seen {
  at::Tensor logits;
  std::map<std::string, at::Tensor> gradients;
};

Seen look(const Path& path, const PackedBatch& batch) {
  Seen seen;
  run_ranks(path.run.ranks, [&](const WorldPtr& world) {
    Trainer trainer(std::make_shared<DeviceMesh>(world, path.run.mesh), path.run.config, "",
                    path.run.options);
    const at::Tensor logits = trainer.logits(batch);
    trainer.forward_backward({batch});
    for (const std::string& name : trainer.parameter_names()) {
      const at::Tensor gradient = trainer.gradient(name);
      if (world->rank() == 0) seen.gradients[name] = gradient;
    }
    if (world->rank() == 0) seen.logits = logits;
  });
  return seen;
}

TEST(Packing, NoDocumentSeesAnother) {
  constexpr int64_t kChanged = 2;
  for (const Path& path : paths()) {
    SCOPED_TRACE(path.name);
    PackedBatch batch = documents_batch(20, 6, kVocab);
    const int32_t* bounds = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
    const int64_t begin = bounds[kChanged];
    const int64_t length = bounds[kChanged + 1] - begin;
    const int64_t tokens = batch.tokens_count();
    // Nothing of the changed document is learnt, so that it could reach the gradients through others only.
    batch.label_count -= batch.labels.narrow(0, begin, length).ne(kIgnoredLabel).sum().item<int64_t>();
    batch.labels.narrow(0, begin, length).fill_(kIgnoredLabel);
    const Seen before = look(path, batch);
    at::Tensor changed = batch.tokens.narrow(0, begin, length);
    changed.copy_(changed.add(5).remainder(kVocab));
    const Seen after = look(path, batch);

    EXPECT_TRUE(at::equal(before.logits.narrow(0, 0, begin), after.logits.narrow(0, 0, begin)));
    const int64_t rest = tokens - begin - length;
    EXPECT_TRUE(at::equal(before.logits.narrow(0, begin + length, rest),
                          after.logits.narrow(0, begin + length, rest)));
    EXPECT_FALSE(at::equal(before.logits.narrow(0, begin, length), after.logits.narrow(0, begin, length)));
    EXPECT_LT(worst_error(after.gradients, before.gradients), 1e-7);
  }
}

}  // namespace
}  // namespace tessera::testing
