// An architecture from outside the library, with its own keys, its own units and its own parallelization
// strategy, trains on meshes like the built-in ones.
#include <gtest/gtest.h>

#include "core/error.h"
#include "models/family.h"
#include "models/tp_plan.h"
#include "support/training_run.h"
#include "train/plan.h"

namespace tessera::testing {
namespace {

void configure_own(const ConfigReader& json, ModelConfig& config) {
  config.num_kv_heads = json.integer("own_kv_heads", 1, kMaxHeads);
  config.qk_norm = json.flag_or("own_qk_norm", true);
}

// Attention whole on every rank; only the MLP is cut.
const TpRules kOwnRules = {{"model.embed_tokens", "replicate"}, {"*.self_attn.*", "replicate"},
                           {"*.mlp.gate_proj", "colwise"},      {"*.mlp.up_proj", "colwise"},
                           {"*.mlp.down_proj", "rowwise"},      {"lm_head", "vocab_parallel"}};

const Family kOwnFamily = {.architecture = "OwnForCausalLM",
                           .model_type = "own",
                           .configure = configure_own,
                           .build = build_decoder,
                           .tp_rules = &kOwnRules};

constexpr const char* kOwnJson =
    R"({"architectures": ["OwnForCausalLM"], "model_type": "own", "vocab_size": 37,
  "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "own_kv_heads": 2})";

TrainingRun job(int pp, int tp, bool sequence_parallel) {
  TrainingRun run;
  run.config = parse_model_config(kOwnJson, {&kOwnFamily});
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.sequence_parallel = sequence_parallel;
  run.mesh.pp = pp;
  run.mesh.tp = tp;
  run.ranks = pp * tp;
  return run;
}

TEST(OwnArchitecture, IsReadBuiltAndPlannedByItsFamily) {
  EXPECT_THROW(parse_model_config(kOwnJson), Error) << "the library does not know it";
  const ModelConfig config = parse_model_config(kOwnJson, {&kOwnFamily});
  EXPECT_EQ(config.architecture, "OwnForCausalLM");
  EXPECT_TRUE(config.qk_norm);
  const TpPlan plan = TpPlan::choose(config, "auto");
  EXPECT_EQ(plan.source(), "architecture OwnForCausalLM");
  EXPECT_EQ(plan.style("model.layers.1.self_attn.q_proj"), TpStyle::replicate);
  EXPECT_EQ(plan.style("model.layers.1.mlp.down_proj"), TpStyle::rowwise);
  MeshSpec spec;
  spec.tp = 2;
  const std::string text = to_text(plan_training(config, tiny_options(), Mesh(spec, 2), StepShape{}));
  EXPECT_NE(text.find("architecture OwnForCausalLM"), std::string::npos) << text;
}

TEST(OwnArchitecture, MayTakeTheNameOfABuiltInOne) {
  Family family = kOwnFamily;
  family.architecture = "LlamaForCausalLM";
  std::string json = kOwnJson;
  json.replace(json.find("OwnForCausalLM"), 14, "LlamaForCausalLM");
  const ModelConfig config = parse_model_config(json, {&family});
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(TpPlan::choose(config, "auto").style("model.layers.0.self_attn.q_proj"), TpStyle::replicate);
  EXPECT_EQ(TpPlan::choose(parse_model_config(json), "auto").style("model.layers.0.self_attn.q_proj"),
            TpStyle::colwise)
      << "others are not touched";
}

TEST(OwnArchitecture, GivesTheOneRankResultOnMeshes) {
  const TrainingOutcome expected = train(job(1, 1, false));
  for (const auto& [pp, tp, sequence] :
       {std::tuple{1, 2, false}, std::tuple{1, 2, true}, std::tuple{1, 4, true}, std::tuple{2, 2, false}}) {
    SCOPED_TRACE(cat("pp=", pp, " tp=", tp, " sequence=", sequence));
    const TrainingOutcome actual = train(job(pp, tp, sequence));
    ASSERT_EQ(actual.losses.size(), expected.losses.size());
    for (size_t s = 0; s < expected.losses.size(); ++s) {
      EXPECT_NEAR(actual.losses[s], expected.losses[s], 2e-6 * expected.losses[s]) << "step " << s + 1;
      EXPECT_NEAR(actual.norms[s], expected.norms[s], 1e-5 * expected.norms[s]) << "step " << s + 1;
    }
  }
}

}  // namespace
}  // namespace tessera::testing
