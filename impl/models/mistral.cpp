// The Mistral family (transformers: models/mistral): one sliding window for all layers, no biases.
#include "models/family.h"

namespace tessera {

namespace {

void configure_mistral(const ConfigReader& json, ModelConfig& config) {
  // The defaults for absent keys are those of transformers' MistralConfig; null has its own meaning for both.
  const int64_t kv_default = json.is_null("num_key_value_heads") ? config.num_heads : 8;
  config.num_kv_heads = json.integer_or("num_key_value_heads", kv_default, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 131072, 1, kMaxPositions);
  const int64_t window =
      json.is_null("sliding_window") ? 0 : json.integer_or("sliding_window", 4096, 1, kMaxPositions);
  config.sliding_window.assign(config.num_layers, window);
}

}  // namespace

const Family kMistralFamily = {"MistralForCausalLM", "mistral", configure_mistral, build_decoder};

}  // namespace tessera
