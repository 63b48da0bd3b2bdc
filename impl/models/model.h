// A model: its configuration, read from a Hugging Face config.json, and the units it is made of.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/rope.h"
#include "nn/unit.h"

namespace tessera {

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
  bool tie_embeddings = false;
  bool qkv_bias = false;        ///< Qwen2
  bool attention_bias = false;  ///< o_proj too (Llama's attention_bias)
  bool mlp_bias = false;
  bool qk_norm = false;  ///< Qwen3: RMSNorm over head_dim of q and k before rope
  /// Per layer; 0 is full attention. Otherwise a token sees itself and the window-1 tokens before it.
  std::vector<int64_t> sliding_window;
  double initializer_range = 0.02;
  int64_t bos_token = -1;
  std::vector<int64_t> eos_tokens;
  std::string raw;  ///< config.json as read: exported unchanged but for dtype
};

/// Reads and checks a config. Errors (format, unsupported) name the key and the value. Hostile input safe.
ModelConfig parse_model_config(const std::string& json_text);
ModelConfig load_model_config(const std::string& directory);

/// The units of a model on the meta device: names, shapes, placements; no memory. Unit 0 is the embedding,
/// the last is the HeadUnit. Under tp the plan has set placements and blocks use `parallel`.
std::vector<std::unique_ptr<Unit>> build_units(const ModelConfig& config, const ParallelContext& parallel);

/// Architectures that build_units knows.
std::vector<std::string> known_architectures();

}  // namespace tessera
