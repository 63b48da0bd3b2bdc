// The Qwen2 and Qwen2.5 family (transformers: models/qwen2): biases on q, k and v only, sliding window per
// layer.
#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

void configure_qwen2(const ConfigReader& json, ModelConfig& config) {
  const int64_t kv_default = json.is_null("num_key_value_heads") ? config.num_heads : 32;
  config.num_kv_heads = json.integer_or("num_key_value_heads", kv_default, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 32768, 1, kMaxPositions);
  config.qkv_bias = true;
  read_qwen_sliding_window(json, config);
}

}  // namespace

const Family kQwen2Family = {"Qwen2ForCausalLM", "qwen2", configure_qwen2, build_decoder};

void read_qwen_sliding_window(const ConfigReader& json, ModelConfig& config) {
  const bool use = json.flag_or("use_sliding_window", false);
  const int64_t named =
      json.is_null("sliding_window") ? 0 : json.integer_or("sliding_window", 4096, 1, kMaxPositions);
  const int64_t window = use ? named : 0;
  const int64_t first = json.integer_or("max_window_layers", 28, 0, int64_t{1} << 31);
  const std::vector<std::string> types = json.texts("layer_types", kMaxLayers);
  TESSERA_CHECK(types.empty() || static_cast<int64_t>(types.size()) == config.num_layers, format,
                "layer_types has ", types.size(), " entries for num_hidden_layers=", config.num_layers);

  config.sliding_window.assign(config.num_layers, 0);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    bool sliding = window > 0 && layer >= first;
    if (!types.empty()) {
      sliding = types[layer] == "sliding_attention";
      TESSERA_CHECK(sliding || types[layer] == "full_attention", unsupported, "layer_types[", layer,
                    "]=", quoted(types[layer]),
                    " is not supported: full_attention and sliding_attention are");
      TESSERA_CHECK(!sliding || window > 0, format, "layer_types[", layer,
                    "]=\"sliding_attention\" needs use_sliding_window=true and a sliding_window");
    }
    if (sliding) config.sliding_window[layer] = window;
  }
}

}  // namespace tessera
