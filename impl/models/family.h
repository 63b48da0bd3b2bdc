// What one architecture family adds to the common decoder: a file per family fills one of these, and
// registry.cpp lists them.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "models/config_reader.h"
#include "models/model.h"
#include "models/rope_config.h"

namespace tessera {

/// A parallelization strategy: name patterns and their tensor-parallel styles (models/tp_plan.h).
using TpRules = std::vector<std::pair<const char*, const char*>>;

struct Family {
  const char* architecture;  ///< as in config.json's architectures: LlamaForCausalLM
  const char* model_type;    ///< used when a config has no architectures
  /// Fills what the family reads in its own way. parse_model_config has already set the shape keys that all
  /// families share, and checks the whole afterwards.
  void (*configure)(const ConfigReader& json, ModelConfig& config);
  std::vector<std::unique_ptr<Unit>> (*build)(const ModelConfig& config, const ParallelContext& parallel);
  /// Called after configure, when head_dim is known.
  void (*read_rope)(const ConfigReader& json, ModelConfig& config) = read_common_rope;
  /// The plan of the architecture (level 2); null: that of the common decoder.
  const TpRules* tp_rules = nullptr;
  bool reads_mxfp4 = false;  ///< stacks of experts may be quantized so (checkpoint/mxfp4.h)
};

extern const Family kLlamaFamily;
extern const Family kMistralFamily;
extern const Family kQwen2Family;
extern const Family kQwen3Family;
extern const Family kMixtralFamily;
extern const Family kQwen3MoeFamily;
extern const Family kPhi3Family;
extern const Family kGemma2Family;
extern const Family kGemma3Family;
extern const Family kDeepseekV3Family;
extern const Family kGptOssFamily;
extern const Family kGlm4MoeFamily;

/// All families, in the order of known_architectures().
const std::vector<const Family*>& families();

/// Bounds on the sizes that a config may name, so that sums and products of them stay far inside 64 bits and
/// no config asks for absurd tables.
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxHidden = int64_t{1} << 20;
inline constexpr int64_t kMaxVocab = int64_t{1} << 26;
inline constexpr int64_t kMaxHeads = int64_t{1} << 14;
inline constexpr int64_t kMaxHeadDim = int64_t{1} << 14;
inline constexpr int64_t kMaxExperts = int64_t{1} << 12;
inline constexpr int64_t kMaxPositions = int64_t{1} << 31;

/// Sets config.sliding_window by the rules that Qwen2 and Qwen3 share in transformers: use_sliding_window
/// switches it, layer_types names the layers, and without layer_types the layers from max_window_layers on
/// have it.
void read_qwen_sliding_window(const ConfigReader& json, ModelConfig& config);

/// Reads what all families have: the number of experts, which `key` names, those per token, and the balance
/// loss; every layer has experts. `experts` and `top_k` are the defaults of transformers. Errors (format):
/// more experts per token than there are.
void read_experts(const ConfigReader& json, const char* key, int64_t experts, int64_t top_k,
                  ModelConfig& config);

/// Defaults of the keys that read_deepseek_experts reads.
struct DeepseekExperts {
  int64_t dense_layers;
  int64_t experts;
  int64_t top_k;
  int64_t width;
  int64_t groups;
  int64_t top_groups;
  double scale;
};
/// Reads the experts of DeepSeek-V3 and of those that have taken them over: behind the first dense layers,
/// sigmoid routing inside limited groups with a bias for the choice, and shared experts. Errors (format):
/// sizes that do not fit one another.
void read_deepseek_experts(const ConfigReader& json, const DeepseekExperts& usual, ModelConfig& config);

/// What Gemma 2 and 3 share: norms, activation, scales and defaults; not their windows and rotary settings.
void configure_gemma(const ConfigReader& json, ModelConfig& config);

/// Sets config.sliding_window from sliding_window (`usual` when absent) and layer_types; without layer_types
/// every `full_every`-th layer is full.
void read_layer_windows(const ConfigReader& json, int64_t usual, int64_t full_every, ModelConfig& config);

/// Embedding, `num_layers` pre-norm decoder layers and the head, under the names model.embed_tokens,
/// model.layers.N, model.norm and lm_head: what all dense families are.
std::vector<std::unique_ptr<Unit>> build_decoder(const ModelConfig& config, const ParallelContext& parallel);

}  // namespace tessera
