// config.json of the families with experts: defaults of transformers, and errors that name key and value.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "models/model.h"

namespace tessera {
namespace {

using nlohmann::json;
using Scoring = kernels::RoutingOptions::Scoring;

json base(const char* architecture) {
  return {{"architectures", {architecture}}, {"vocab_size", 100},      {"hidden_size", 64},
          {"intermediate_size", 96},         {"num_hidden_layers", 4}, {"num_attention_heads", 8}};
}

ModelConfig parsed(json config, const json& more = json::object()) {
  config.update(more);
  return parse_model_config(config.dump());
}

std::string error_of(json config, const json& more) {
  config.update(more);
  try {
    parse_model_config(config.dump());
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == Code::format || error.code() == Code::unsupported);
    return error.what();
  }
  return "no error";
}

TEST(MoeConfigTest, GptOssDefaultsAreThoseOfTransformers) {
  const ModelConfig config = parsed(base("GptOssForCausalLM"));
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_TRUE(config.attention_bias && config.qkv_bias && config.attention_sinks);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_EQ(config.sliding_window, (std::vector<int64_t>{128, 0, 128, 0}));
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.max_positions, 131072);
  const MoeConfig& moe = config.moe;
  EXPECT_EQ(moe.experts, 128);
  EXPECT_EQ(moe.routing.top_k, 4);
  EXPECT_EQ(moe.routing.scoring, Scoring::topk_softmax);
  EXPECT_EQ(moe.intermediate_size, 96);
  EXPECT_EQ(moe.activation, Activation::clamped_silu);
  EXPECT_TRUE(moe.expert_bias && moe.router_bias && moe.in_layer(0) && moe.in_layer(3));
  EXPECT_EQ(config.rope_theta, 150000);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::yarn);
  EXPECT_EQ(config.rope_scaling.factor, 32);
  EXPECT_EQ(config.rope_scaling.original_max_positions, 4096);
  EXPECT_FALSE(config.rope_scaling.truncate);
  EXPECT_NEAR(config.rope_scaling.attention_factor, 0.1 * std::log(32) + 1, 1e-12);
}

TEST(MoeConfigTest, GptOssReadsThePublishedKeys) {
  const ModelConfig config = parsed(
      base("GptOssForCausalLM"),
      {{"num_local_experts", 32},
       {"experts_per_token", 4},
       {"num_experts_per_tok", 2},
       {"swiglu_limit", 7.0},
       {"initial_context_length", 4096},
       {"layer_types", {"full_attention", "sliding_attention", "sliding_attention", "full_attention"}},
       {"sliding_window", 16},
       {"head_dim", nullptr},
       {"rope_theta", 10000},
       {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 64}}},
       {"quantization_config", {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"lm_head"}}}}});
  EXPECT_EQ(config.moe.experts, 32);
  EXPECT_EQ(config.moe.routing.top_k, 2);
  EXPECT_EQ(config.sliding_window, (std::vector<int64_t>{0, 16, 16, 0}));
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.rope_scaling.factor, 8);
  EXPECT_TRUE(config.rope_scaling.truncate);
}

TEST(MoeConfigTest, WhatGptOssCannotBeIsNamed) {
  const json config = base("GptOssForCausalLM");
  EXPECT_EQ(error_of(config, {{"swiglu_limit", 5.0}}), "swiglu_limit=5.0 is not supported: 7 is");
  EXPECT_EQ(error_of(config, {{"sliding_window", nullptr}}),
            "layer_types[0]=\"sliding_attention\" needs a sliding_window");
  EXPECT_EQ(error_of(config, {{"layer_types", {"full_attention"}}}),
            "layer_types has 1 entries for num_hidden_layers=4");
  EXPECT_EQ(error_of(config, {{"layer_types", json::array({"a\nb", "", "", ""})}}),
            "layer_types[0]=\"a\\nb\" is not supported: full_attention and sliding_attention are");
  EXPECT_EQ(error_of(config, {{"num_local_experts", 3}}),
            "num_experts_per_tok=4 is above num_local_experts=3");
  EXPECT_EQ(error_of(config, {{"hidden_act", "gelu"}}), "hidden_act=\"gelu\" is not supported: silu is");
  EXPECT_EQ(error_of(config, {{"quantization_config", {{"quant_method", "fp8"}}}}),
            "quantization_config.quant_method=\"fp8\" is not supported for GptOssForCausalLM: mxfp4 and "
            "unquantized weights are");
  EXPECT_EQ(error_of(config, {{"quantization_config", "mxfp4"}}),
            "quantization_config=\"mxfp4\" is not an object");
}

TEST(MoeConfigTest, OnlyGptOssIsReadAsMxfp4) {
  EXPECT_EQ(error_of(base("MixtralForCausalLM"), {{"quantization_config", {{"quant_method", "mxfp4"}}}}),
            "quantization_config.quant_method=\"mxfp4\" is not supported for MixtralForCausalLM: unquantized "
            "weights are");
}

TEST(MoeConfigTest, Glm4MoeDefaultsAreThoseOfTransformers) {
  const ModelConfig config = parsed(base("Glm4MoeForCausalLM"));
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.rotary_dim, 4);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.qkv_bias || config.attention_bias || config.qk_norm);
  const MoeConfig& moe = config.moe;
  EXPECT_EQ(moe.experts, 128);
  EXPECT_EQ(moe.routing.top_k, 8);
  EXPECT_EQ(moe.routing.scoring, Scoring::sigmoid);
  EXPECT_EQ(moe.routing.scale, 1);
  EXPECT_EQ(moe.routing.groups, 1);
  EXPECT_TRUE(moe.routing.normalize && moe.float32_router);
  EXPECT_EQ(moe.intermediate_size, 1408);
  EXPECT_EQ(moe.shared_intermediate_size, 1408);
  EXPECT_FALSE(moe.in_layer(0));
  EXPECT_TRUE(moe.in_layer(1));
}

TEST(MoeConfigTest, Glm4MoeReadsThePublishedKeys) {
  const ModelConfig config = parsed(base("Glm4MoeForCausalLM"), {{"attention_bias", true},
                                                                 {"use_qk_norm", true},
                                                                 {"head_dim", 16},
                                                                 {"partial_rotary_factor", 0.25},
                                                                 {"rope_scaling", nullptr},
                                                                 {"rope_theta", 1000000},
                                                                 {"first_k_dense_replace", 3},
                                                                 {"n_shared_experts", 2},
                                                                 {"num_nextn_predict_layers", 1}});
  EXPECT_TRUE(config.qkv_bias && config.qk_norm);
  EXPECT_FALSE(config.attention_bias) << "o_proj has none";
  EXPECT_EQ(config.rotary_dim, 4);
  EXPECT_EQ(config.rope_theta, 1000000);
  EXPECT_EQ(config.moe.shared_intermediate_size, 2816);
  EXPECT_FALSE(config.moe.in_layer(2));
  EXPECT_TRUE(config.moe.in_layer(3));
}

TEST(MoeConfigTest, GroupsThatDoNotFitAreNamed) {
  for (const char* architecture : {"Glm4MoeForCausalLM", "DeepseekV3ForCausalLM"}) {
    const json config = base(architecture);
    EXPECT_EQ(error_of(config, {{"n_group", 3}, {"n_routed_experts", 128}, {"first_k_dense_replace", 1}}),
              "n_group=3 does not cut n_routed_experts=128 into equal groups of two or more");
    EXPECT_EQ(error_of(config, {{"n_group", 2}, {"topk_group", 3}, {"first_k_dense_replace", 1}}),
              "topk_group=3 is above n_group=2");
    EXPECT_EQ(error_of(config, {{"n_group", 4},
                                {"topk_group", 1},
                                {"n_routed_experts", 16},
                                {"num_experts_per_tok", 5},
                                {"first_k_dense_replace", 1}}),
              "num_experts_per_tok=5 is above the 4 experts of topk_group=1 groups");
  }
  EXPECT_EQ(error_of(base("Glm4MoeForCausalLM"), {{"partial_rotary_factor", 0.4}}),
            "partial_rotary_factor=0.4 rotates 3 elements of head_dim=8: an even number above 0 is needed");
  EXPECT_EQ(error_of(base("Glm4MoeForCausalLM"), {{"n_shared_experts", 0}}),
            "n_shared_experts=0 is not in 1..4096");
}

TEST(MoeConfigTest, MixtralAndQwen3MoeErrorsNameTheirKeys) {
  EXPECT_EQ(error_of(base("MixtralForCausalLM"), {{"num_local_experts", 1}}),
            "num_experts_per_tok=2 is above num_local_experts=1");
  EXPECT_EQ(error_of(base("MixtralForCausalLM"), {{"router_jitter_noise", 0.1}}),
            "router_jitter_noise=0.1 is not supported: 0 is");
  EXPECT_EQ(error_of(base("Qwen3MoeForCausalLM"), {{"num_experts", 4}}),
            "num_experts_per_tok=8 is above num_experts=4");
  EXPECT_EQ(error_of(base("Qwen3MoeForCausalLM"), {{"decoder_sparse_step", 0}}),
            "decoder_sparse_step=0 is not in 1..4096");
}

}  // namespace
}  // namespace tessera
