// The gpt-oss family (transformers: models/gpt_oss): attention with sinks, windows in every other layer,
// YaRN, and in every layer experts with biases and a clamped activation behind a softmax over the chosen
// ones.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

void configure_gpt_oss(const ConfigReader& json, ModelConfig& config) {
  const int64_t kv_default = json.is_null("num_key_value_heads") ? config.num_heads : 8;
  config.num_kv_heads = json.integer_or("num_key_value_heads", kv_default, 1, kMaxHeads);
  if (!json.is_null("head_dim")) config.head_dim = json.integer_or("head_dim", 64, 1, kMaxHeadDim);
  config.max_positions = json.integer_or("max_position_embeddings", 131072, 1, kMaxPositions);
  config.rms_norm_eps = json.number_or("rms_norm_eps", 1e-5, 0.0, 1.0);
  config.attention_bias = json.flag_or("attention_bias", true);
  config.qkv_bias = config.attention_bias;
  config.attention_sinks = true;
  read_layer_windows(json, /*usual=*/128, /*full_every=*/2, config);

  read_experts(json, json.has("num_local_experts") ? "num_local_experts" : "num_experts", 128, 4, config);
  MoeConfig& moe = config.moe;
  moe.intermediate_size = config.intermediate_size;
  moe.routing.scoring = kernels::RoutingOptions::Scoring::topk_softmax;
  moe.router_name = "router";
  moe.router_bias = true;
  moe.expert_bias = true;
  moe.activation = Activation::clamped_silu;
  moe.stack = "experts";
  // The released configs have the key; transformers has the value in its code.
  const double limit = json.number_or("swiglu_limit", 7.0, 0.0, 1e9);
  TESSERA_CHECK(limit == 7.0, unsupported, json.show("swiglu_limit"), " is not supported: 7 is");
}

void read_gpt_oss_rope(const ConfigReader& json, ModelConfig& config) {
  RopeRules rules;
  rules.theta = 150000;
  read_rope(json, rules, config);
  if (json.has_object("rope_parameters") || json.has_object("rope_scaling")) return;
  const nlohmann::json usual = {{"rope_type", "yarn"},
                                {"factor", 32.0},
                                {"original_max_position_embeddings", 4096},
                                {"truncate", false}};
  read_rope_object(json, "rope_parameters", ConfigReader(usual, "rope_parameters."), rules, config);
}

}  // namespace

const Family kGptOssFamily = {.architecture = "GptOssForCausalLM",
                              .model_type = "gpt_oss",
                              .configure = configure_gpt_oss,
                              .build = build_decoder,
                              .read_rope = read_gpt_oss_rope,
                              .reads_mxfp4 = true};

}  // namespace tessera
