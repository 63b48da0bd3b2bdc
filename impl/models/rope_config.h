// Reading rotary settings from a config.json, in the styles of transformers 4 and 5.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "models/config_reader.h"
#include "models/model.h"

namespace tessera {

/// What families differ in.
struct RopeRules {
  double theta = 10000;  ///< when no key names it
  std::set<std::string> types = {"default", "linear", "llama3", "longrope", "yarn"};
  bool partial = false;       ///< partial_rotary_factor may be below 1
  double partial_factor = 1;  ///< when no key names it
  /// Names that older checkpoints have for longrope.
  std::set<std::string> longrope_names;
  /// original_max_position_embeddings beside the object when the key is absent; 0: that inside it counts.
  int64_t original_positions = 0;
};

/// Reads rope_parameters (transformers 5), or rope_theta and rope_scaling beside each other (transformers 4),
/// into rope_theta, rope_scaling and rotary_dim. As in transformers, rope_scaling wins over rope_parameters,
/// values inside the object win over keys beside it, and "rope_type" wins over the older "type". head_dim and
/// max_positions are set already.
void read_rope(const ConfigReader& json, const RopeRules& rules, ModelConfig& config);

/// The same from one object, when it is known which: `rope` is `key` of `json`.
void read_rope_object(const ConfigReader& json, const std::string& key, const ConfigReader& rope,
                      const RopeRules& rules, ModelConfig& config);

/// What most families do.
void read_common_rope(const ConfigReader& json, ModelConfig& config);

}  // namespace tessera
