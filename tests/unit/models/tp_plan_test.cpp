// Tensor-parallel plans: the four levels, what they match, and what is refused.
#include "models/tp_plan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "models/model.h"
#include "support/training_run.h"

namespace tessera {
namespace {

using testing::tiny_config;

std::string message_of(const std::string& plan, bool tied = false, bool sequence = false) {
  try {
    ParallelContext parallel;
    parallel.tp_size = 2;
    parallel.tp_plan = plan;
    parallel.sequence_parallel = sequence;
    build_units(tiny_config(tied), parallel);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(TpPlan, TheLevelsAreTakenInOrder) {
  ModelConfig config = tiny_config();
  EXPECT_EQ(TpPlan::choose(config, "auto").source(), "architecture LlamaForCausalLM");
  config.raw = R"({"base_model_tp_plan": {"layers.*.mlp.up_proj": "colwise"}})";
  EXPECT_EQ(TpPlan::choose(config, "auto").source(), "architecture LlamaForCausalLM");
  EXPECT_EQ(TpPlan::choose(config, "checkpoint").source(),
            "base_model_tp_plan of the checkpoint's config.json");
  config.architecture = "OtherForCausalLM";
  EXPECT_EQ(TpPlan::choose(config, "auto").source(), "base_model_tp_plan of the checkpoint's config.json");
  config.raw.clear();
  EXPECT_EQ(TpPlan::choose(config, "").source(), "generic, by the usual names");
  EXPECT_EQ(TpPlan::choose(config, "{}").source(), "the user's, given as text");
}

TEST(TpPlan, AHostRegistersPlansByName) {
  ModelConfig config = tiny_config();
  register_tp_plan(config.tp_plans, "mlp-only.v1", R"({"*": "replicate", "layers.*.mlp.*_proj": "colwise",
      "layers.*.mlp.down_proj": "rowwise"})");
  register_tp_plan(config.tp_plans, "none", "\"*\": replicate\n");
  const TpPlan plan = TpPlan::choose(config, "mlp-only.v1");
  EXPECT_EQ(plan.source(), "the user's, registered as mlp-only.v1");
  EXPECT_EQ(plan.style("model.layers.0.mlp.down_proj"), TpStyle::rowwise);
  EXPECT_EQ(plan.style("model.layers.0.self_attn.q_proj"), TpStyle::replicate);
  EXPECT_EQ(TpPlan::choose(config, "none").style("model.layers.0.mlp.down_proj"), TpStyle::replicate);
  EXPECT_EQ(TpPlan::choose(config, "auto").source(), "architecture LlamaForCausalLM")
      << "only when asked for";

  const auto refused = [&](const std::string& name, const std::string& text) -> std::string {
    const auto before = config.tp_plans;
    try {
      register_tp_plan(config.tp_plans, name, text);
    } catch (const Error& error) {
      EXPECT_EQ(config.tp_plans, before);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(refused("generic", "{}"), "name=generic is a level of its own");
  EXPECT_NE(refused("a/b", "{}").find("is not 1 to 64 letters"), std::string::npos);
  EXPECT_NE(refused("", "{}").find("is not 1 to 64 letters"), std::string::npos);
  EXPECT_EQ(refused("p", "[1]"), "plan p is no map of name patterns and styles");
  EXPECT_NE(refused("p", R"({"a": "diagonal"})").find("the style \"diagonal\" of \"a\" is not known"),
            std::string::npos);
  EXPECT_EQ(refused("none", "{}"), "no error") << "replaced";
  for (int i = 0; config.tp_plans.size() < 256; ++i) register_tp_plan(config.tp_plans, cat("p", i), "{}");
  EXPECT_EQ(refused("more", "{}"), "name=more: there are 256 plans already");
}

TEST(TpPlan, GenericAndArchitecturePlansAgreeOnTheCommonDecoder) {
  const ModelConfig config = tiny_config();
  const TpPlan architecture = TpPlan::choose(config, "architecture");
  const TpPlan generic = TpPlan::choose(config, "generic");
  for (const auto& unit : build_units(config, {})) {
    for (const ParamSpec& spec : unit->params()) {
      const std::string module = spec.name.substr(0, spec.name.rfind('.'));
      EXPECT_EQ(architecture.style(module), generic.style(module)) << module;
    }
  }
}

TEST(TpPlan, TheLongestPatternCountsAndPrefixesMayBeLeftOut) {
  const TpPlan plan = TpPlan::choose(tiny_config(), R"({"*": "replicate", "layers.*.mlp.*_proj": "colwise",
      "layers.*.mlp.down_proj": "rowwise", "model.layers.1.mlp.gate_proj": "replicate"})");
  EXPECT_EQ(plan.style("model.layers.0.mlp.gate_proj"), TpStyle::colwise);
  EXPECT_EQ(plan.style("model.layers.0.mlp.down_proj"), TpStyle::rowwise);
  EXPECT_EQ(plan.style("model.layers.1.mlp.gate_proj"), TpStyle::replicate);
  EXPECT_EQ(plan.style("model.layers.0.self_attn.q_proj"), TpStyle::replicate);
}

TEST(TpPlan, AUsersPlanMustNameEveryMatrixAndNothingElse) {
  const std::string rest =
      R"("*self_attn*": "replicate", "*embed_tokens": "rowwise", "lm_head": "replicate")";
  EXPECT_EQ(message_of("{\"*mlp*\": \"replicate\", " + rest + "}"), "no error");
  EXPECT_EQ(message_of("{\"*mlp*\": \"replicate\", " + rest + "}", /*tied=*/true), "no error");
  EXPECT_EQ(
      message_of("{" + rest + "}"),
      "tensor-parallel plan: no pattern matches model.layers.0.mlp.gate_proj: give it a style, replicate if "
      "it is to be whole on every rank");
  EXPECT_EQ(
      message_of("{\"*mlp*\": \"replicate\", \"*experts*\": \"colwise\", " + rest + "}"),
      "tensor-parallel plan: the pattern \"*experts*\" matches no module that no longer pattern matches");
}

TEST(TpPlan, StylesThatDoNotGoTogetherAreNamed) {
  EXPECT_EQ(message_of(R"({"*": "replicate", "*.mlp.gate_proj": "colwise", "*.mlp.up_proj": "colwise"})"),
            "tensor-parallel plan: model.layers.0.mlp.down_proj is replicate, but must be rowwise because "
            "model.layers.0.mlp.gate_proj is colwise");
  EXPECT_EQ(message_of(R"({"*": "replicate", "*.q_proj": "rowwise"})"),
            "tensor-parallel plan: model.layers.0.self_attn.q_proj cannot be rowwise: colwise or replicate");
  EXPECT_EQ(message_of(R"({"*": "replicate", "*norm": "colwise"})"),
            "tensor-parallel plan: model.norm is a norm and cannot be colwise");
  EXPECT_EQ(message_of(R"({"*": "replicate", "*norm": "sequence_parallel"})"),
            "tensor-parallel plan: model.norm is sequence_parallel, but parallel.sequence_parallel=false");
  EXPECT_EQ(message_of(R"({"*": "replicate", "*norm": "sequence_parallel"})", false, true), "no error");
  EXPECT_EQ(message_of(R"({"*": "diagonal"})"),
            "tensor-parallel plan: the style \"diagonal\" of \"*\" is not known: colwise, rowwise, "
            "vocab_parallel, replicate, sequence_parallel and colwise_gather_output are");
}

TEST(TpPlan, FilesAreReadAndBadOnesRefused) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "tessera_tp_plan.yaml";
  std::ofstream(path) << "model.embed_tokens: vocab_parallel\nlm_head: colwise_gather_output\n"
                         "'*self_attn*': replicate\n'*mlp*': replicate\n";
  EXPECT_EQ(message_of(path.string()), "no error");
  std::ofstream(path) << "- a\n- b\n";
  EXPECT_EQ(message_of(path.string()), "parallel.tp_plan is no map of name patterns and styles");
  std::ofstream(path) << "a: [b\n";
  EXPECT_EQ(message_of(path.string()).substr(0, 18), "parallel.tp_plan: ");
  std::filesystem::remove(path);
  EXPECT_EQ(message_of("/nowhere.yaml").substr(0, 32), "parallel.tp_plan=\"/nowhere.yaml\"");
}

}  // namespace
}  // namespace tessera
