// A plugin: an architecture with keys of its own, whose attention stays whole on every rank of tp.
#include "core/error.h"
#include "models/plugin.h"

namespace {

void configure(const tessera::ConfigReader& json, tessera::ModelConfig& config) {
  config.num_kv_heads = json.integer("own_kv_heads", 1, tessera::kMaxHeads);
}

std::vector<std::unique_ptr<tessera::Unit>> build(const tessera::ModelConfig& config,
                                                  const tessera::ParallelContext& parallel) {
  TESSERA_CHECK(parallel.tp_size <= 2, argument, "tp=", parallel.tp_size,
                " is more than an OwnForCausalLM takes");
  return tessera::build_decoder(config, parallel);
}

const tessera::TpRules kRules = {{"model.embed_tokens", "vocab_parallel"}, {"*.self_attn.*", "replicate"},
                                 {"*.mlp.gate_proj", "colwise"},           {"*.mlp.up_proj", "colwise"},
                                 {"*.mlp.down_proj", "rowwise"},           {"lm_head", "vocab_parallel"}};

const tessera::Family kFamily = {.architecture = "OwnForCausalLM",
                                 .model_type = "own",
                                 .configure = configure,
                                 .build = build,
                                 .tp_rules = &kRules};

}  // namespace

TESSERA_MODEL_PLUGIN(&kFamily)
