// Rotary settings of a config.json.
#include "models/rope_config.h"

#include <cmath>

#include "core/error.h"
#include "kernels/yarn.h"
#include "models/family.h"

namespace tessera {

namespace {

constexpr double kMaxFactor = 1e9;
constexpr double kMaxTheta = 1e15;

std::string listed(const std::set<std::string>& names) {
  std::string text;
  for (auto it = names.begin(); it != names.end(); ++it) {
    if (it != names.begin()) text += std::next(it) == names.end() ? " and " : ", ";
    text += *it;
  }
  return text + (names.size() > 1 ? " are" : " is");
}

int64_t original_positions(const ConfigReader& json, const ConfigReader& rope, const RopeRules& rules,
                           const ModelConfig& config) {
  const char* key = "original_max_position_embeddings";
  // A key beside the object wins here, as transformers does for the families that write it there.
  const int64_t inner = rope.integer_or(key, config.max_positions, 1, kMaxPositions);
  return json.integer_or(key, rules.original_positions > 0 ? rules.original_positions : inner, 1,
                         kMaxPositions);
}

void read_llama3(const ConfigReader& rope, RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::llama3;
  scaling.factor = rope.number("factor", 1e-6, kMaxFactor);
  scaling.low_freq_factor = rope.number("low_freq_factor", 1e-6, kMaxFactor);
  scaling.high_freq_factor = rope.number("high_freq_factor", 1e-6, kMaxFactor);
  TESSERA_CHECK(scaling.high_freq_factor > scaling.low_freq_factor, format, rope.show("high_freq_factor"),
                " is not above ", rope.show("low_freq_factor"));
}

std::vector<double> read_factors(const ConfigReader& rope, const std::string& key, int64_t frequencies) {
  std::vector<double> factors = rope.numbers(key, kMaxHeadDim, 1e-6, kMaxFactor);
  TESSERA_CHECK(static_cast<int64_t>(factors.size()) == frequencies, format, rope.show(key), " has ",
                factors.size(), " entries for ", frequencies, " frequencies");
  return factors;
}

void read_longrope(const ConfigReader& rope, int64_t rotary_dim, int64_t max_positions,
                   RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::longrope;
  scaling.short_factor = read_factors(rope, "short_factor", rotary_dim / 2);
  scaling.long_factor = read_factors(rope, "long_factor", rotary_dim / 2);
  const auto original = static_cast<double>(scaling.original_max_positions);
  TESSERA_CHECK(original > 1, format, "original_max_position_embeddings=", scaling.original_max_positions,
                " is too small for longrope");
  const double stretch = static_cast<double>(max_positions) / original;
  scaling.factor = rope.number_or("factor", stretch, 1e-6, kMaxFactor);
  const double usual =
      scaling.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(scaling.factor) / std::log(original));
  scaling.attention_factor = rope.number_or("attention_factor", usual, 1e-6, kMaxFactor);
}

/// As in transformers, 0 stands for the default.
double positive_or(const ConfigReader& rope, const char* key, double usual) {
  const double given = rope.number_or(key, usual, 0, kMaxFactor);
  return given == 0 ? usual : given;
}

void read_yarn(const ConfigReader& rope, int64_t max_positions, double theta, RopeScaling& scaling) {
  TESSERA_CHECK(theta > 1, format, "rope_type=\"yarn\" needs a rope_theta above 1, not ", theta);
  scaling.kind = RopeScaling::Kind::yarn;
  const double stretch =
      static_cast<double>(max_positions) / static_cast<double>(scaling.original_max_positions);
  scaling.factor = rope.number_or("factor", stretch, 1e-6, kMaxFactor);
  scaling.beta_fast = positive_or(rope, "beta_fast", 32);
  scaling.beta_slow = positive_or(rope, "beta_slow", 1);
  scaling.truncate = rope.flag_or("truncate", true);
  const double above = rope.number_or("mscale", 0, 0, kMaxFactor);
  const double below = rope.number_or("mscale_all_dim", 0, 0, kMaxFactor);
  double usual = kernels::yarn_temperature(scaling.factor);
  if (above > 0 && below > 0) {
    usual =
        kernels::yarn_temperature(scaling.factor, above) / kernels::yarn_temperature(scaling.factor, below);
  }
  scaling.attention_factor = rope.number_or("attention_factor", usual, 1e-6, kMaxFactor);
}

/// `usual` counts when the key is absent; 1 leaves what was read before.
void read_rotary_dim(const ConfigReader& from, const std::string& key, bool allowed, double usual,
                     ModelConfig& config) {
  if (!from.has(key) && usual == 1.0) return;
  const double partial = from.number_or(key, usual, 0.0, kMaxFactor);
  TESSERA_CHECK(partial == 1.0 || allowed, unsupported, from.show(key), " is not supported");
  TESSERA_CHECK(partial <= 1.0, format, from.show(key), " is above 1");
  const auto dim = static_cast<int64_t>(static_cast<double>(config.head_dim) * partial);
  TESSERA_CHECK(dim > 0 && dim % 2 == 0, unsupported, key, "=", partial, " rotates ", dim,
                " elements of head_dim=", config.head_dim, ": an even number above 0 is needed");
  config.rotary_dim = dim;
}

}  // namespace

void read_rope_object(const ConfigReader& json, const std::string& key, const ConfigReader& rope,
                      const RopeRules& rules, ModelConfig& config) {
  config.rope_theta = rope.number_or("rope_theta", config.rope_theta, 1e-3, kMaxTheta);
  read_rotary_dim(rope, "partial_rotary_factor", rules.partial, /*usual=*/1.0, config);

  std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
  if (rules.longrope_names.count(type) != 0) type = "longrope";
  TESSERA_CHECK(rules.types.count(type) != 0, unsupported, key, ".rope_type=", quoted(type),
                " is not supported: ", listed(rules.types));
  RopeScaling& scaling = config.rope_scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
    scaling.factor = rope.number("factor", 1e-6, kMaxFactor);
  }
  if (type != "llama3" && type != "longrope" && type != "yarn") return;
  scaling.original_max_positions = original_positions(json, rope, rules, config);
  if (type == "llama3") return read_llama3(rope, scaling);
  if (type == "yarn") return read_yarn(rope, config.max_positions, config.rope_theta, scaling);
  read_longrope(rope, config.rotary_dim > 0 ? config.rotary_dim : config.head_dim, config.max_positions,
                scaling);
}

void read_rope(const ConfigReader& json, const RopeRules& rules, ModelConfig& config) {
  config.rope_theta = json.number_or("rope_theta", rules.theta, 1e-3, kMaxTheta);
  read_rotary_dim(json, "partial_rotary_factor", rules.partial, rules.partial_factor, config);

  std::string key;
  if (json.has_object("rope_parameters")) key = "rope_parameters";
  if (json.has_object("rope_scaling")) key = "rope_scaling";
  if (key.empty()) return;
  const ConfigReader rope = json.object(key);
  for (const char* nested : {"full_attention", "sliding_attention"}) {
    TESSERA_CHECK(!rope.has(nested), unsupported, key, " per layer type (", nested, ") is not supported");
  }
  read_rope_object(json, key, rope, rules, config);
}

void read_common_rope(const ConfigReader& json, ModelConfig& config) {
  read_rope(json, {}, config);
}

}  // namespace tessera
