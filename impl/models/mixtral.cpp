// The Mixtral family (transformers: models/mixtral): Mistral with experts in every layer, weights from a
// softmax over all experts, normalised over the chosen ones.
#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

void configure_mixtral(const ConfigReader& json, ModelConfig& config) {
  config.num_kv_heads = json.is_null("num_key_value_heads")
                            ? config.num_heads
                            : json.integer_or("num_key_value_heads", 8, 1, kMaxHeads);
  config.max_positions = json.integer_or("max_position_embeddings", 131072, 1, kMaxPositions);
  config.rms_norm_eps = json.number_or("rms_norm_eps", 1e-5, 0.0, 1.0);
  if (json.has("sliding_window")) {
    config.sliding_window.assign(config.num_layers,
                                 json.integer_or("sliding_window", 4096, 1, kMaxPositions));
  }
  read_experts(json, "num_local_experts", 8, 2, config);
  MoeConfig& moe = config.moe;
  moe.intermediate_size = config.intermediate_size;
  moe.layers.assign(config.num_layers, true);
  moe.routing.normalize = true;
  moe.block_name = "block_sparse_moe";
  moe.gate_name = "experts.{}.w1";
  moe.up_name = "experts.{}.w3";
  moe.down_name = "experts.{}.w2";
  const double jitter = json.number_or("router_jitter_noise", 0.0, 0.0, 1.0);
  TESSERA_CHECK(jitter == 0.0, unsupported, json.show("router_jitter_noise"), " is not supported: 0 is");
}

}  // namespace

const Family kMixtralFamily = {"MixtralForCausalLM", "mixtral", configure_mixtral, build_decoder};

void read_experts(const ConfigReader& json, const char* key, int64_t experts, int64_t top_k,
                  ModelConfig& config) {
  MoeConfig& moe = config.moe;
  moe.experts = json.integer_or(key, experts, 1, kMaxExperts);
  moe.routing.top_k = json.integer_or("num_experts_per_tok", top_k, 1, kMaxExperts);
  TESSERA_CHECK(moe.routing.top_k <= moe.experts, format, "num_experts_per_tok=", moe.routing.top_k,
                " is above ", key, "=", moe.experts);
  moe.aux_loss_coef = json.number_or("router_aux_loss_coef", 0.0, 0.0, 1e3);
  moe.layers.assign(config.num_layers, true);
}

}  // namespace tessera
