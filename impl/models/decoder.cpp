// The common decoder: embedding, pre-norm layers, head, under the names that transformers gives their
// weights.
#include "core/error.h"
#include "models/family.h"
#include "models/tp_plan.h"
#include "nn/decoder_layer.h"
#include "nn/embedding.h"
#include "nn/head.h"

namespace tessera {

namespace {

constexpr const char* kEmbedding = "model.embed_tokens";

constexpr bool has_latents(const ModelConfig& config) {
  return config.latent.kv_rank > 0;
}

// The projection whose outputs are heads' queries.
std::string query_name(const ModelConfig& config) {
  return has_latents(config) && config.latent.q_rank > 0 ? ".self_attn.q_b_proj" : ".self_attn.q_proj";
}

std::vector<std::string> attention_names(const ModelConfig& config) {
  if (!has_latents(config))
    return {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj", ".self_attn.o_proj"};
  std::vector<std::string> names = {query_name(config), ".self_attn.kv_a_proj_with_mqa",
                                    ".self_attn.kv_a_layernorm", ".self_attn.kv_b_proj", ".self_attn.o_proj"};
  if (config.latent.q_rank > 0) {
    names.push_back(".self_attn.q_a_proj");
    names.push_back(".self_attn.q_a_layernorm");
  }
  return names;
}

LatentAttentionSpec latent_spec(const ModelConfig& config, const TensorRegion& heads) {
  LatentAttentionSpec spec;
  spec.hidden = config.hidden_size;
  spec.heads = config.num_heads;
  spec.q_rank = config.latent.q_rank;
  spec.kv_rank = config.latent.kv_rank;
  spec.plain_dim = config.latent.plain_dim;
  spec.rope_dim = config.latent.rope_dim;
  spec.value_dim = config.latent.value_dim;
  spec.bias = config.attention_bias;
  spec.norm_eps = config.latent.norm_eps;
  spec.scale = config.latent.scale;
  spec.init_std = config.initializer_range;
  spec.region = heads;
  return spec;
}

RopeCachePtr latent_rope(const ModelConfig& config) {
  return std::make_shared<RopeCache>(config.latent.rope_dim, config.rope_theta, config.rope_scaling,
                                     config.latent.pairs);
}

void check_heads(const ModelConfig& config, int64_t tp) {
  TESSERA_CHECK(config.num_heads % tp == 0, argument, "tp=", tp,
                " does not divide num_attention_heads=", config.num_heads);
  TESSERA_CHECK(config.num_kv_heads % tp == 0 || tp % config.num_kv_heads == 0, argument, "tp=", tp,
                " and num_key_value_heads=", config.num_kv_heads, " do not divide one another");
}

void check_columns(const ModelConfig& config, int64_t tp) {
  TESSERA_CHECK(config.intermediate_size % tp == 0, argument, "tp=", tp,
                " does not divide intermediate_size=", config.intermediate_size);
}

void check_shared_columns(const ModelConfig& config, int64_t tp) {
  TESSERA_CHECK(config.moe.shared_intermediate_size % tp == 0, argument, "tp=", tp,
                " does not divide the shared experts' width, ", config.moe.shared_intermediate_size);
}

std::string layer_name(int64_t layer) {
  return cat("model.layers.", layer);
}

// The MLP that all tokens of a layer pass: the layer's own, or the shared experts.
std::string mlp_name(const ModelConfig& config, int64_t layer) {
  return layer_name(layer) + (config.moe.in_layer(layer) ? ".mlp.shared_experts" : ".mlp");
}

// All modules that have weights, for the checks of a plan.
std::vector<std::string> modules_of(const ModelConfig& config) {
  std::vector<std::string> modules = {kEmbedding, "model.norm"};
  if (!config.tie_embeddings) modules.push_back("lm_head");
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (const char* name : {".input_layernorm", ".post_attention_layernorm"})
      modules.push_back(layer_name(layer) + name);
    for (const std::string& name : attention_names(config)) modules.push_back(layer_name(layer) + name);
    for (const char* name : {".self_attn.q_norm", ".self_attn.k_norm"}) {
      if (config.qk_norm) modules.push_back(layer_name(layer) + name);
    }
    for (const char* name : {".pre_feedforward_layernorm", ".post_feedforward_layernorm"}) {
      if (config.sandwich_norms) modules.push_back(layer_name(layer) + name);
    }
    // How experts are cut is not the plan's choice: parallel.ep and parallel.expert_tp say it.
    const bool moe = config.moe.in_layer(layer);
    if (moe && config.moe.shared_intermediate_size == 0) continue;
    for (const char* name : {".gate_proj", ".up_proj", ".down_proj"}) {
      modules.push_back(mlp_name(config, layer) + name);
    }
  }
  return modules;
}

MoeSpec moe_spec(const ModelConfig& config, const TensorRegion& columns) {
  const MoeConfig& moe = config.moe;
  MoeSpec spec;
  spec.router.hidden = spec.experts.hidden = config.hidden_size;
  spec.router.experts = spec.experts.placement.experts = moe.experts;
  spec.router.init_std = spec.experts.init_std = config.initializer_range;
  spec.router.options = moe.routing;
  spec.router.float32 = moe.float32_router;
  spec.router.bias = moe.router_bias;
  spec.router.name = moe.router_name;
  spec.router.selection_bias_name = moe.selection_bias_name;
  spec.experts.intermediate = moe.intermediate_size;
  spec.experts.activation = moe.activation;
  spec.experts.bias = moe.expert_bias;
  spec.experts.stack = moe.stack;
  spec.experts.gate_name = moe.gate_name;
  spec.experts.up_name = moe.up_name;
  spec.experts.down_name = moe.down_name;
  if (moe.shared_intermediate_size == 0) return spec;
  if (columns.split()) check_shared_columns(config, columns.size());
  spec.shared = MlpSpec{config.hidden_size, moe.shared_intermediate_size, config.mlp_bias,
                        config.initializer_range, columns};
  return spec;
}

}  // namespace

std::vector<std::unique_ptr<Unit>> build_decoder(const ModelConfig& config, const ParallelContext& parallel) {
  const TpPlan plan = TpPlan::choose(config, parallel.tp_plan);
  plan.check(modules_of(config), parallel.sequence_parallel);
  const TensorRegion ends(parallel, plan.splits(kEmbedding));
  const TensorRegion head_region(parallel, plan.splits(config.tie_embeddings ? kEmbedding : "lm_head"));

  const int64_t rotary_dim = config.rotary_dim > 0 ? config.rotary_dim : config.head_dim;
  const auto rope = has_latents(config)
                        ? latent_rope(config)
                        : std::make_shared<RopeCache>(rotary_dim, config.rope_theta, config.rope_scaling);
  RopeCachePtr local_rope = rope;
  if (config.local_rope_theta > 0) {
    local_rope = std::make_shared<RopeCache>(rotary_dim, config.local_rope_theta, RopeScaling{});
  }
  const double std = config.initializer_range;
  const bool copied = config.tie_embeddings && parallel.split_ends;
  std::vector<std::unique_ptr<Unit>> units;
  units.push_back(std::make_unique<EmbeddingUnit>(kEmbedding, config.vocab_size, config.hidden_size, std,
                                                  ends, /*stage_copies=*/copied ? 2 : 1,
                                                  config.embedding_scale));
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const TensorRegion heads(parallel, plan.splits(layer_name(layer) + query_name(config)));
    const TensorRegion columns(parallel, plan.splits(mlp_name(config, layer) + ".gate_proj"));
    if (heads.split()) check_heads(config, parallel.tp_size);
    DecoderLayerSpec spec;
    spec.attention = {config.hidden_size,
                      config.num_heads,
                      config.num_kv_heads,
                      config.head_dim,
                      config.sliding_window.at(layer),
                      config.qkv_bias,
                      config.attention_bias,
                      config.qk_norm,
                      config.rms_norm_eps,
                      std,
                      heads,
                      config.attention_scale,
                      config.attention_soft_cap,
                      config.norm_gain,
                      config.fused_qkv,
                      config.attention_sinks};
    if (has_latents(config)) spec.latent = latent_spec(config, heads);
    if (config.moe.in_layer(layer)) {
      spec.moe = moe_spec(config, columns);
      spec.feed_forward_name = config.moe.block_name;
    } else {
      if (columns.split()) check_columns(config, parallel.tp_size);
      spec.mlp = {config.hidden_size, config.intermediate_size, config.mlp_bias, std, columns,
                  config.activation,  config.fused_gate_up};
    }
    spec.norm_eps = config.rms_norm_eps;
    spec.norm_gain = config.norm_gain;
    spec.sandwich_norms = config.sandwich_norms;
    spec.sequence_parallel = heads.sequence_parallel();
    units.push_back(std::make_unique<DecoderLayer>(
        layer_name(layer), spec, config.sliding_window.at(layer) > 0 ? local_rope : rope, parallel));
  }
  HeadSpec head{config.vocab_size,         config.hidden_size, config.rms_norm_eps,   std,
                HeadSpec::Projection::own, head_region,        config.logit_soft_cap, config.norm_gain};
  if (config.tie_embeddings) {
    head.projection = copied ? HeadSpec::Projection::copied : HeadSpec::Projection::borrowed;
  }
  units.push_back(std::make_unique<DecoderHead>("model.norm", copied ? kEmbedding : "lm_head", head));
  return units;
}

}  // namespace tessera
