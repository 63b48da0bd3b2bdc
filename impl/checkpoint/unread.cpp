// Tensors of a checkpoint that no parameter reads.
#include "checkpoint/unread.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>

#include "core/error.h"

namespace tessera {
namespace {

constexpr std::string_view kLayers = "model.layers.";
constexpr size_t kMostShown = 8;

// "model.layers.46.mlp.gate.weight" -> 46; -1: of no layer.
int64_t layer_of(const std::string& name) {
  if (name.rfind(kLayers, 0) != 0) return -1;
  const char* digits = name.c_str() + kLayers.size();
  if (std::isdigit(static_cast<unsigned char>(*digits)) == 0) return -1;
  char* end = nullptr;
  const int64_t layer = std::strtoll(digits, &end, 10);
  return *end == '.' ? layer : -1;
}

bool says_nothing(const std::string& name, const std::set<std::string>& read) {
  const std::string_view frequencies = "rotary_emb.inv_freq";
  const bool ends = name.size() >= frequencies.size() &&
                    name.compare(name.size() - frequencies.size(), frequencies.size(), frequencies) == 0;
  return ends || (name == "lm_head.weight" && read.count("model.embed_tokens.weight") != 0);
}

}  // namespace

std::string describe_unread(const std::vector<std::string>& stored, const std::set<std::string>& read) {
  int64_t last = -1;
  for (const std::string& name : read) last = std::max(last, layer_of(name));
  std::map<int64_t, int64_t> behind;  // layer -> tensors
  std::vector<std::string> parts;
  for (const std::string& name : stored) {
    if (read.count(name) != 0 || says_nothing(name, read)) continue;
    if (layer_of(name) > last) {
      ++behind[layer_of(name)];
    } else {
      parts.push_back(name);
    }
  }
  for (const auto& [layer, tensors] : behind) {
    parts.insert(parts.begin(), cat(kLayers, layer, ".* (", tensors, " tensors, behind the last layer)"));
  }
  std::string text;
  for (size_t i = 0; i < std::min(parts.size(), kMostShown); ++i) text += (i > 0 ? ", " : "") + parts[i];
  if (parts.size() > kMostShown) text += cat(" and ", parts.size() - kMostShown, " more");
  return text;
}

}  // namespace tessera
