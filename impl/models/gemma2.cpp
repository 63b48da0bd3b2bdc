// The Gemma 2 family (transformers: models/gemma2): norms in front of and behind each block, soft caps on
// scores and logits, windows on every second layer.
#include <cmath>

#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

// null means no cap, an absent key the default of the family.
double read_cap(const ConfigReader& json, const char* key, double fallback) {
  return json.is_null(key) ? 0.0 : json.number_or(key, fallback, 1e-3, 1e6);
}

void configure_gemma2(const ConfigReader& json, ModelConfig& config) {
  configure_gemma(json, config);
  config.max_positions = json.integer_or("max_position_embeddings", 8192, 1, kMaxPositions);
  config.attention_soft_cap = read_cap(json, "attn_logit_softcapping", 50.0);
  config.logit_soft_cap = read_cap(json, "final_logit_softcapping", 30.0);
  read_layer_windows(json, /*usual=*/4096, /*full_every=*/2, config);
}

}  // namespace

const Family kGemma2Family = {"Gemma2ForCausalLM", "gemma2", configure_gemma2, build_decoder};

void configure_gemma(const ConfigReader& json, ModelConfig& config) {
  const int64_t kv_default = json.is_null("num_key_value_heads") ? config.num_heads : 4;
  config.num_kv_heads = json.integer_or("num_key_value_heads", kv_default, 1, kMaxHeads);
  config.head_dim = json.integer_or("head_dim", 256, 1, kMaxHeadDim);
  config.tie_embeddings = json.flag_or("tie_word_embeddings", true);
  config.attention_bias = json.flag_or("attention_bias", false);
  config.qkv_bias = config.attention_bias;
  config.bos_token = json.integer_or("bos_token_id", 2, -1, kMaxVocab);
  if (!json.has("eos_token_id") && !json.is_null("eos_token_id")) config.eos_tokens = {1};
  config.norm_gain = kernels::NormGain::one_plus_weight;
  config.sandwich_norms = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.attention_scale = 1 / std::sqrt(json.number_or("query_pre_attn_scalar", 256, 1e-6, 1e9));
  config.activation = Activation::gelu_tanh;
  // transformers reads this key alone; hidden_act, which some checkpoints have beside it, says nothing.
  const std::string activation = json.text_or("hidden_activation", "gelu_pytorch_tanh");
  TESSERA_CHECK(activation == "gelu_pytorch_tanh", unsupported, json.show("hidden_activation"),
                " is not supported: gelu_pytorch_tanh is");
  TESSERA_CHECK(!json.flag_or("use_bidirectional_attention", false), unsupported,
                json.show("use_bidirectional_attention"), " is not supported: causal attention is");
}

void read_layer_windows(const ConfigReader& json, int64_t usual, int64_t full_every, ModelConfig& config) {
  const int64_t window =
      json.is_null("sliding_window") ? 0 : json.integer_or("sliding_window", usual, 1, kMaxPositions);
  std::vector<std::string> types = json.texts("layer_types", kMaxLayers);
  for (int64_t layer = 1; layer <= config.num_layers && !json.has("layer_types"); ++layer) {
    types.push_back(layer % full_every == 0 ? "full_attention" : "sliding_attention");
  }
  TESSERA_CHECK(static_cast<int64_t>(types.size()) == config.num_layers, format, "layer_types has ",
                types.size(), " entries for num_hidden_layers=", config.num_layers);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const bool sliding = types[layer] == "sliding_attention";
    TESSERA_CHECK(sliding || types[layer] == "full_attention", unsupported, "layer_types[", layer,
                  "]=", quoted(types[layer]), " is not supported: full_attention and sliding_attention are");
    TESSERA_CHECK(!sliding || window > 0, format, "layer_types[", layer,
                  "]=\"sliding_attention\" needs a sliding_window");
    config.sliding_window[layer] = sliding ? window : 0;
  }
}

}  // namespace tessera
