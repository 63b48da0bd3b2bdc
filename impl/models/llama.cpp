// The Llama family (transformers: models/llama): optional biases on attention and MLP, rope scaling.
#include "models/family.h"

namespace tessera {

namespace {

void configure_llama(const ConfigReader& json, ModelConfig& config) {
  config.num_kv_heads = json.integer_or("num_key_value_heads", config.num_heads, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 2048, 1, kMaxPositions);
  config.attention_bias = json.flag_or("attention_bias", false);
  config.qkv_bias = config.attention_bias;
  config.mlp_bias = json.flag_or("mlp_bias", false);
}

}  // namespace

const Family kLlamaFamily = {"LlamaForCausalLM", "llama", configure_llama, build_decoder};

}  // namespace tessera
