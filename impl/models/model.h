// A model: its configuration, read from a Hugging Face config.json, and the units it is made of.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/routing.h"
#include "nn/unit.h"

namespace tessera {

struct Family;

/// The mixture of experts of a model; `experts` is 0 in dense ones.
struct MoeConfig {
  int64_t experts = 0;
  int64_t intermediate_size = 0;         ///< of one expert
  int64_t shared_intermediate_size = 0;  ///< of the expert that all tokens pass; 0: none
  std::vector<bool> layers;              ///< which layers have experts in place of the MLP
  kernels::RoutingOptions routing;
  bool float32_router = false;
  bool router_bias = false;
  bool expert_bias = false;
  Activation activation = Activation::silu;  ///< of the experts
  double aux_loss_coef = 0;                  ///< router_aux_loss_coef, for those who ask for the checkpoint's
  // Names in the checkpoint: the block, and inside it; "{}" is an expert's number.
  std::string block_name = "mlp";
  std::string router_name = "gate";
  std::string selection_bias_name;  ///< empty: the family has none
  std::string gate_name = "experts.{}.gate_proj";
  std::string up_name = "experts.{}.up_proj";
  std::string down_name = "experts.{}.down_proj";
  std::string stack;  ///< ExpertsSpec::stack

  bool in_layer(int64_t layer) const { return experts > 0 && layers.at(layer); }
};

/// Multi-head latent attention (nn/latent_attention.h).
struct LatentConfig {
  int64_t kv_rank = 0;    ///< 0: the model has none
  int64_t q_rank = 0;     ///< 0: queries come from the hidden state
  int64_t plain_dim = 0;  ///< of a query or key, without positions
  int64_t rope_dim = 0;   ///< with positions; head_dim is the sum of both
  int64_t value_dim = 0;
  double norm_eps = 1e-6;  ///< of the latents' norms
  double scale = 0;        ///< of the scores; 0: 1/sqrt(head_dim)
  kernels::RopePairs pairs = kernels::RopePairs::neighbours;
};

/// The union of what the decoder families need; a family's file fills it from config.json.
struct ModelConfig {
  std::string architecture;  ///< LlamaForCausalLM
  std::string model_type;    ///< llama
  std::string dtype;         ///< of the checkpoint: float32, bfloat16, float16, float64
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  int64_t rotary_dim = 0;  ///< elements of a head that are rotated, its first; 0: all (Phi 3: fewer)
  /// Gemma 3: the base of the layers that have a window, whose frequencies are not scaled; 0: as in the
  /// others.
  double local_rope_theta = 0;
  bool tie_embeddings = false;
  bool qkv_bias = false;        ///< Qwen2
  bool attention_bias = false;  ///< o_proj too (Llama's attention_bias)
  bool mlp_bias = false;
  bool qk_norm = false;  ///< Qwen3: RMSNorm over head_dim of q and k before rope
  kernels::NormGain norm_gain = kernels::NormGain::weight;  ///< Gemma: 1 + weight
  bool sandwich_norms = false;                              ///< Gemma 2: norms behind attention and MLP too
  Activation activation = Activation::silu;
  double embedding_scale = 1;     ///< Gemma: sqrt(hidden_size)
  double attention_scale = 0;     ///< of the scores; 0: 1/sqrt(head_dim)
  double attention_soft_cap = 0;  ///< of the scaled scores; 0: none
  double logit_soft_cap = 0;      ///< of the logits; 0: none
  /// Checkpoints with one projection for q, k and v, or for gate and up: its name; empty: they are apart.
  std::string fused_qkv;
  std::string fused_gate_up;
  /// Per layer; 0 is full attention. Otherwise a token sees itself and the window-1 tokens before it.
  std::vector<int64_t> sliding_window;
  MoeConfig moe;
  bool attention_sinks = false;  ///< gpt-oss: a learned score per head without a key
  LatentConfig latent;           ///< DeepSeek
  double initializer_range = 0.02;
  int64_t bos_token = -1;
  std::vector<int64_t> eos_tokens;
  const Family* family = nullptr;  ///< who reads and builds it when that is a plugin; null: by `architecture`
  /// Tensor-parallel plans that the host has registered, by name (models/tp_plan.h).
  std::map<std::string, std::string> tp_plans;
  std::string raw;  ///< config.json as read: exported unchanged but for dtype and quantization
};

/// Reads and checks a config. Errors (format, unsupported) name the key and the value. Hostile input safe.
/// `plugin` families come before the built-in ones of the same name.
ModelConfig parse_model_config(const std::string& json_text, const std::vector<const Family*>& plugin = {});
ModelConfig load_model_config(const std::string& directory, const std::vector<const Family*>& plugin = {});

/// The units of a model on the meta device: names, shapes, placements; no memory. Unit 0 is the embedding,
/// the last is the HeadUnit. Under tp the plan has set placements and blocks use `parallel`.
std::vector<std::unique_ptr<Unit>> build_units(const ModelConfig& config, const ParallelContext& parallel);

/// Architectures that build_units knows.
std::vector<std::string> known_architectures();

}  // namespace tessera
