// The DeepSeek-V3 family (transformers: models/deepseek_v3): latent attention, neighbouring rotary pairs,
// YaRN whose temperature is in the scale of the scores, and behind the first dense layers experts with
// sigmoid routing inside limited groups and a shared expert.
#include <cmath>

#include "core/error.h"
#include "kernels/yarn.h"
#include "models/family.h"

namespace tessera {

namespace {

// transformers' yarn_apply_mscale: YaRN's temperature, squared because it stands for one factor in queries
// and one in keys.
double scale_of(const ConfigReader& json, int64_t head_dim) {
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  const char* key = json.has_object("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!json.has_object(key)) return scale;
  const ConfigReader rope = json.object(key);
  if (rope.text_or("rope_type", rope.text_or("type", "default")) == "default") return scale;
  const double mscale = rope.number_or("mscale_all_dim", 0, 0, 1e9);
  if (mscale == 0) return scale;
  return scale * std::pow(kernels::yarn_temperature(rope.number("factor", 1e-6, 1e9), mscale), 2);
}

void read_latents(const ConfigReader& json, ModelConfig& config) {
  LatentConfig& latent = config.latent;
  latent.kv_rank = json.integer_or("kv_lora_rank", 512, 1, kMaxHidden);
  latent.q_rank = json.is_null("q_lora_rank") ? 0 : json.integer_or("q_lora_rank", 1536, 1, kMaxHidden);
  latent.plain_dim = json.integer_or("qk_nope_head_dim", 128, 1, kMaxHeadDim);
  latent.rope_dim = json.integer_or("qk_rope_head_dim", 64, 1, kMaxHeadDim);
  latent.value_dim = json.integer_or("v_head_dim", 128, 1, kMaxHeadDim);
  TESSERA_CHECK(latent.rope_dim % 2 == 0, unsupported, json.show("qk_rope_head_dim"),
                " is odd, rotary embedding needs an even one");
  config.head_dim = latent.plain_dim + latent.rope_dim;
  latent.scale = scale_of(json, config.head_dim);
  if (!json.flag_or("rope_interleave", true)) latent.pairs = kernels::RopePairs::halves;
}

void check_groups(const MoeConfig& moe) {
  const kernels::RoutingOptions& routing = moe.routing;
  TESSERA_CHECK(moe.experts % routing.groups == 0 && moe.experts / routing.groups >= 2, format,
                "n_group=", routing.groups, " does not cut n_routed_experts=", moe.experts,
                " into equal groups of two or more");
  TESSERA_CHECK(routing.top_groups <= routing.groups, format, "topk_group=", routing.top_groups,
                " is above n_group=", routing.groups);
  const int64_t open = moe.experts / routing.groups * routing.top_groups;
  TESSERA_CHECK(routing.top_k <= open, format, "num_experts_per_tok=", routing.top_k, " is above the ", open,
                " experts of topk_group=", routing.top_groups, " groups");
}

void configure_deepseek_v3(const ConfigReader& json, ModelConfig& config) {
  read_latents(json, config);
  config.num_kv_heads = config.num_heads;  // num_key_value_heads is not used
  config.max_positions = json.integer_or("max_position_embeddings", 4096, 1, kMaxPositions);
  config.attention_bias = json.flag_or("attention_bias", false);
  read_deepseek_experts(json,
                        {.dense_layers = 3,
                         .experts = 256,
                         .top_k = 8,
                         .width = 2048,
                         .groups = 8,
                         .top_groups = 4,
                         .scale = 2.5},
                        config);
}

}  // namespace

const Family kDeepseekV3Family = {"DeepseekV3ForCausalLM", "deepseek_v3", configure_deepseek_v3,
                                  build_decoder};

void read_deepseek_experts(const ConfigReader& json, const DeepseekExperts& usual, ModelConfig& config) {
  const int64_t dense = json.integer_or("first_k_dense_replace", usual.dense_layers, 0, kMaxLayers);
  if (dense >= config.num_layers) return;

  read_experts(json, "n_routed_experts", usual.experts, usual.top_k, config);
  MoeConfig& moe = config.moe;
  moe.intermediate_size = json.integer_or("moe_intermediate_size", usual.width, 1, kMaxHidden * 16);
  moe.shared_intermediate_size =
      moe.intermediate_size * json.integer_or("n_shared_experts", 1, 1, kMaxExperts);
  for (int64_t layer = 0; layer < dense; ++layer) moe.layers[layer] = false;
  moe.routing.scoring = kernels::RoutingOptions::Scoring::sigmoid;
  moe.routing.normalize = json.flag_or("norm_topk_prob", true);
  moe.routing.epsilon = 1e-20;
  moe.routing.scale = json.number_or("routed_scaling_factor", usual.scale, 1e-6, 1e6);
  moe.routing.groups = json.integer_or("n_group", usual.groups, 1, kMaxExperts);
  moe.routing.top_groups = json.integer_or("topk_group", usual.top_groups, 1, kMaxExperts);
  moe.float32_router = true;
  moe.selection_bias_name = "gate.e_score_correction_bias";
  check_groups(moe);
}

}  // namespace tessera
