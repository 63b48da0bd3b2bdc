// The Qwen3 dense family (transformers: models/qwen3): RMSNorm over head_dim of q and k, head_dim apart from
// hidden / heads, sliding window per layer.
#include "models/family.h"

namespace tessera {

namespace {

void configure_qwen3(const ConfigReader& json, ModelConfig& config) {
  const int64_t kv_default = json.is_null("num_key_value_heads") ? config.num_heads : 32;
  config.num_kv_heads = json.integer_or("num_key_value_heads", kv_default, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 32768, 1, kMaxPositions);
  config.head_dim = json.integer_or("head_dim", 128, 1, kMaxHeadDim);
  config.attention_bias = json.flag_or("attention_bias", false);
  config.qkv_bias = config.attention_bias;
  config.qk_norm = true;
  read_qwen_sliding_window(json, config);
}

}  // namespace

const Family kQwen3Family = {"Qwen3ForCausalLM", "qwen3", configure_qwen3, build_decoder};

}  // namespace tessera
