// The GLM-4 mixture-of-experts family (transformers: models/glm4_moe; GLM-4.5 and 4.6): heads of which a part
// is rotated, optional norms on q and k, and DeepSeek-V3's experts.
#include "models/family.h"

namespace tessera {

namespace {

void configure_glm4_moe(const ConfigReader& json, ModelConfig& config) {
  config.num_kv_heads = json.integer_or("num_key_value_heads", 8, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 131072, 1, kMaxPositions);
  config.rms_norm_eps = json.number_or("rms_norm_eps", 1e-5, 0.0, 1.0);
  config.qkv_bias = json.flag_or("attention_bias", false);  // o_proj never has one
  config.qk_norm = json.flag_or("use_qk_norm", false);
  read_deepseek_experts(json,
                        {.dense_layers = 1,
                         .experts = 128,
                         .top_k = 8,
                         .width = 1408,
                         .groups = 1,
                         .top_groups = 1,
                         .scale = 1},
                        config);
}

void read_glm4_moe_rope(const ConfigReader& json, ModelConfig& config) {
  RopeRules rules;
  rules.partial = true;
  rules.partial_factor = 0.5;
  read_rope(json, rules, config);
}

}  // namespace

const Family kGlm4MoeFamily = {"Glm4MoeForCausalLM", "glm4_moe", configure_glm4_moe, build_decoder,
                               read_glm4_moe_rope};

}  // namespace tessera
