// The Phi 3 family (transformers: models/phi3; Phi 3, 3.5 and 4): Mistral with q, k, v and gate, up fused in
// the checkpoint, longrope, and heads of which only a part may be rotated.
#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

void configure_phi3(const ConfigReader& json, ModelConfig& config) {
  config.num_kv_heads = json.integer_or("num_key_value_heads", config.num_heads, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 4096, 1, kMaxPositions);
  config.rms_norm_eps = json.number_or("rms_norm_eps", 1e-5, 0.0, 1.0);
  config.sliding_window.assign(config.num_layers, json.integer_or("sliding_window", 0, 1, kMaxPositions));
  config.fused_qkv = "qkv_proj";
  config.fused_gate_up = "gate_up_proj";
  if (!json.has("eos_token_id") && !json.is_null("eos_token_id")) config.eos_tokens = {32000};
  const double dropout = json.number_or("resid_pdrop", 0.0, 0.0, 1.0);
  TESSERA_CHECK(dropout == 0.0, unsupported, json.show("resid_pdrop"), " is not supported: 0 is");
}

void read_phi3_rope(const ConfigReader& json, ModelConfig& config) {
  RopeRules rules;
  rules.types = {"default", "longrope"};
  rules.longrope_names = {"su", "yarn"};
  rules.partial = true;
  rules.original_positions = 4096;
  read_rope(json, rules, config);
}

}  // namespace

const Family kPhi3Family = {"Phi3ForCausalLM", "phi3", configure_phi3, build_decoder, read_phi3_rope};

}  // namespace tessera
