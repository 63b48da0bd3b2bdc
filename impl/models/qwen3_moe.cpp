// The Qwen3 mixture-of-experts family (transformers: models/qwen3_moe): Qwen3's attention, experts in every
// decoder_sparse_step-th layer but those of mlp_only_layers.
#include <algorithm>

#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

void configure_qwen3_moe(const ConfigReader& json, ModelConfig& config) {
  const int64_t kv_default = json.is_null("num_key_value_heads") ? config.num_heads : 4;
  config.num_kv_heads = json.integer_or("num_key_value_heads", kv_default, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 32768, 1, kMaxPositions);
  config.attention_bias = json.flag_or("attention_bias", false);
  config.qkv_bias = config.attention_bias;
  config.qk_norm = true;
  // transformers gives every layer the one window here, whatever max_window_layers says.
  if (json.flag_or("use_sliding_window", false) && !json.is_null("sliding_window")) {
    config.sliding_window.assign(config.num_layers,
                                 json.integer_or("sliding_window", 4096, 1, kMaxPositions));
  }
  read_experts(json, json.has("num_experts") ? "num_experts" : "num_local_experts", 128, 8, config);
  MoeConfig& moe = config.moe;
  moe.intermediate_size = json.integer_or("moe_intermediate_size", 768, 1, kMaxHidden * 16);
  moe.routing.normalize = json.flag_or("norm_topk_prob", false);
  const int64_t step = json.integer_or("decoder_sparse_step", 1, 1, kMaxLayers);
  const std::vector<int64_t> dense = json.integers("mlp_only_layers", kMaxLayers, 0, kMaxLayers);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const bool named = std::find(dense.begin(), dense.end(), layer) != dense.end();
    moe.layers[layer] = !named && (layer + 1) % step == 0;
  }
}

}  // namespace

const Family kQwen3MoeFamily = {"Qwen3MoeForCausalLM", "qwen3_moe", configure_qwen3_moe, build_decoder};

}  // namespace tessera
