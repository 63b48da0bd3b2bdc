// The text models of the Gemma 3 family (transformers: models/gemma3, model type gemma3_text): Gemma 2 with
// norms on q and k in place of the soft cap on scores, and rotary bases of their own for the layers with a
// window.
#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

constexpr double kGlobalTheta = 1e6;
constexpr double kLocalTheta = 1e4;

void configure_gemma3(const ConfigReader& json, ModelConfig& config) {
  configure_gemma(json, config);
  config.max_positions = json.integer_or("max_position_embeddings", 131072, 1, kMaxPositions);
  config.qk_norm = true;
  // transformers has the key and does not use it.
  TESSERA_CHECK(!json.has("attn_logit_softcapping"), unsupported, json.show("attn_logit_softcapping"),
                " is not supported: null is");
  config.logit_soft_cap = json.number_or("final_logit_softcapping", 0.0, 1e-3, 1e6);
  read_layer_windows(json, /*usual=*/4096, json.integer_or("sliding_window_pattern", 6, 1, kMaxLayers),
                     config);
}

void read_local(const ConfigReader& rope, ModelConfig& config) {
  config.local_rope_theta = rope.number_or("rope_theta", config.local_rope_theta, 1e-3, 1e15);
  const std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
  TESSERA_CHECK(type == "default", unsupported, "rope_parameters.sliding_attention.rope_type=", quoted(type),
                " is not supported: default is");
}

// transformers 5 has an object per kind of layer in rope_parameters; before, rope_theta and rope_scaling were
// for the full layers and rope_local_base_freq for the others. As there, rope_scaling's values win.
void read_gemma3_rope(const ConfigReader& json, ModelConfig& config) {
  RopeRules rules;
  rules.types = {"default", "linear", "llama3"};
  config.rope_theta = json.number_or("rope_theta", kGlobalTheta, 1e-3, 1e15);
  config.local_rope_theta = json.number_or("rope_local_base_freq", kLocalTheta, 1e-3, 1e15);
  if (json.has_object("rope_parameters")) {
    const ConfigReader both = json.object("rope_parameters");
    TESSERA_CHECK(both.has("full_attention") || both.has("sliding_attention"), format,
                  "rope_parameters has neither full_attention nor sliding_attention");
    if (both.has_object("full_attention")) {
      read_rope_object(json, "rope_parameters.full_attention", both.object("full_attention"), rules, config);
    }
    if (both.has_object("sliding_attention")) read_local(both.object("sliding_attention"), config);
  }
  if (!json.has_object("rope_scaling")) return;
  const ConfigReader scaling = json.object("rope_scaling");
  config.rope_scaling = {};
  read_rope_object(json, "rope_scaling", scaling, rules, config);
}

}  // namespace

const Family kGemma3Family = {"Gemma3ForCausalLM", "gemma3_text", configure_gemma3, build_decoder,
                              read_gemma3_rope};

}  // namespace tessera
