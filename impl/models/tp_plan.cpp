// Choice and checks of tensor-parallel plans.
#include "models/tp_plan.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "core/error.h"
#include "models/config_reader.h"
#include "models/family.h"
#include "models/model.h"

namespace tessera {
namespace {

constexpr size_t kMostRules = 100'000;
constexpr size_t kMostBytes = size_t{4} << 20;
constexpr size_t kMostPlans = 256;

// What the common decoder is made of (models/decoder.cpp).
const TpRules& decoder_rules() {
  static const TpRules rules = {
      {"model.embed_tokens", "vocab_parallel"},
      {"model.layers.*.self_attn.q_proj", "colwise"},
      {"model.layers.*.self_attn.k_proj", "colwise"},
      {"model.layers.*.self_attn.v_proj", "colwise"},
      {"model.layers.*.self_attn.q_b_proj", "colwise"},
      {"model.layers.*.self_attn.kv_b_proj", "colwise"},
      {"model.layers.*.self_attn.o_proj", "rowwise"},
      {"model.layers.*.mlp.gate_proj", "colwise"},
      {"model.layers.*.mlp.up_proj", "colwise"},
      {"model.layers.*.mlp.down_proj", "rowwise"},
      {"lm_head", "vocab_parallel"},
  };
  return rules;
}

const TpRules& generic_rules() {
  static const TpRules rules = {
      {"*embed_tokens", "vocab_parallel"},
      {"*q_proj", "colwise"},
      {"*k_proj", "colwise"},
      {"*v_proj", "colwise"},
      {"*q_b_proj", "colwise"},
      {"*kv_b_proj", "colwise"},
      {"*o_proj", "rowwise"},
      {"*gate_proj", "colwise"},
      {"*up_proj", "colwise"},
      {"*down_proj", "rowwise"},
      {"*lm_head", "vocab_parallel"},
  };
  return rules;
}

bool matches(std::string_view pattern, std::string_view text) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (text.substr(0, star) != pattern.substr(0, star)) return false;
  // The texts between the stars are looked for from left to right, the last one at the end.
  text.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  for (;;) {
    const size_t next = pattern.find('*');
    if (next == std::string_view::npos) {
      return text.size() >= pattern.size() && text.substr(text.size() - pattern.size()) == pattern;
    }
    const size_t at = text.find(pattern.substr(0, next));
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + next);
    pattern.remove_prefix(next + 1);
  }
}

bool is_norm(const std::string& module) {
  return module.size() >= 4 && module.find("norm", module.rfind('.') + 1) != std::string::npos;
}

std::string read_text(const std::string& path) {
  std::error_code no_status;
  TESSERA_CHECK(std::filesystem::is_regular_file(path, no_status), io, "parallel.tp_plan=\"", path,
                "\" is neither auto, architecture, checkpoint or generic nor a registered plan, a file or a "
                "JSON map");
  TESSERA_CHECK(std::filesystem::file_size(path, no_status) <= kMostBytes, format, "parallel.tp_plan=\"",
                path, "\" is longer than ", kMostBytes, " bytes");
  std::ifstream file(path, std::ios::binary);
  TESSERA_CHECK(file, io, "parallel.tp_plan=\"", path, "\" cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

// A map of strings. JSON is YAML too, so that one reader does for both. `what` is what messages call it.
std::map<std::string, std::string> read_map(const std::string& text, const std::string& what) {
  std::map<std::string, std::string> rules;
  try {
    const YAML::Node root = YAML::Load(text);
    TESSERA_CHECK(root.IsMap() && root.size() <= kMostRules, format, what,
                  " is no map of name patterns and styles");
    for (const auto& entry : root) {
      TESSERA_CHECK(entry.first.IsScalar() && entry.second.IsScalar(), format, what,
                    ": an entry is no pair of texts");
      rules[entry.first.Scalar()] = entry.second.Scalar();
    }
  } catch (const YAML::Exception& error) {
    throw Error(Code::format, cat(what, ": ", error.what()));
  }
  return rules;
}

std::map<std::string, std::string> checkpoint_map(const ModelConfig& config) {
  std::map<std::string, std::string> rules;
  if (config.raw.empty()) return rules;
  const nlohmann::json root = parse_config_json(config.raw);
  const auto found = root.find("base_model_tp_plan");
  if (found == root.end() || !found->is_object()) return rules;
  TESSERA_CHECK(found->size() <= kMostRules, format, "base_model_tp_plan has ", found->size(), " entries");
  for (const auto& [pattern, style] : found->items()) {
    TESSERA_CHECK(style.is_string(), format, "base_model_tp_plan: the style of ", quoted(pattern),
                  " is no text");
    rules[pattern] = style.get<std::string>();
  }
  return rules;
}

// Who builds the model; null when nobody is known.
const Family* family_of(const ModelConfig& config) {
  if (config.family != nullptr) return config.family;
  for (const Family* family : families()) {
    if (config.architecture == family->architecture) return family;
  }
  return nullptr;
}

std::string sibling(const std::string& module, const std::string& name) {
  return module.substr(0, module.rfind('.') + 1) + name;
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::string_view tp_style_name(TpStyle style) {
  switch (style) {
    case TpStyle::replicate:
      return "replicate";
    case TpStyle::colwise:
      return "colwise";
    case TpStyle::rowwise:
      return "rowwise";
    case TpStyle::vocab_parallel:
      return "vocab_parallel";
  }
  return "unknown";
}

// Beside our own names those of transformers are known. Gathering the output of the last projection is what
// logits() does by itself; the loss never needs it.
void TpPlan::add(const std::string& pattern, const std::string& style) {
  static const std::map<std::string, TpStyle> known = {
      {"replicate", TpStyle::replicate},
      {"replicated", TpStyle::replicate},
      {"replicated_with_grad_allreduce", TpStyle::replicate},
      {"sequence_parallel", TpStyle::replicate},
      {"colwise", TpStyle::colwise},
      {"colwise_rep", TpStyle::colwise},
      {"colwise_gather_output", TpStyle::colwise},
      {"rowwise", TpStyle::rowwise},
      {"rowwise_rep", TpStyle::rowwise},
      {"embedding_rowwise", TpStyle::vocab_parallel},
      {"vocab_parallel", TpStyle::vocab_parallel},
  };
  const auto found = known.find(style);
  TESSERA_CHECK(found != known.end(), argument, "tensor-parallel plan: the style \"", style, "\" of \"",
                pattern,
                "\" is not known: colwise, rowwise, vocab_parallel, replicate, sequence_parallel and "
                "colwise_gather_output are");
  rules_.push_back({pattern, found->second, style == "sequence_parallel"});
}

TpPlan TpPlan::choose(const ModelConfig& config, const std::string& requested) {
  TpPlan plan;
  const auto take = [&](const auto& rules, std::string source) {
    for (const auto& [pattern, style] : rules) plan.add(pattern, style);
    plan.source_ = std::move(source);
    return plan;
  };
  const bool any = requested.empty() || requested == "auto";
  if (any || requested == "architecture") {
    if (const Family* family = family_of(config)) {
      return take(family->tp_rules != nullptr ? *family->tp_rules : decoder_rules(),
                  "architecture " + config.architecture);
    }
    TESSERA_CHECK(any, argument, "parallel.tp_plan=architecture: ", config.architecture, " has none");
  }
  if (any || requested == "checkpoint") {
    const auto rules = checkpoint_map(config);
    if (!rules.empty()) return take(rules, "base_model_tp_plan of the checkpoint's config.json");
    TESSERA_CHECK(any, argument, "parallel.tp_plan=checkpoint: config.json has no base_model_tp_plan");
  }
  if (any || requested == "generic") return take(generic_rules(), "generic, by the usual names");
  plan.complete_ = true;
  if (const auto found = config.tp_plans.find(requested); found != config.tp_plans.end()) {
    return take(read_map(found->second, "plan " + requested), "the user's, registered as " + requested);
  }
  const size_t first = requested.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && requested[first] == '{') {
    return take(read_map(requested, "parallel.tp_plan"), "the user's, given as text");
  }
  return take(read_map(read_text(requested), "parallel.tp_plan"), "the user's, " + requested);
}

void register_tp_plan(std::map<std::string, std::string>& plans, const std::string& name,
                      const std::string& text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  TESSERA_CHECK(!name.empty() && name.size() <= 64 && name.find_first_not_of(kLetters) == std::string::npos,
                argument, "name=", quoted(name), " is not 1 to 64 letters, digits, '_', '-' and '.'");
  for (const char* level : {"auto", "architecture", "checkpoint", "generic"}) {
    TESSERA_CHECK(name != level, argument, "name=", name, " is a level of its own");
  }
  TESSERA_CHECK(text.size() <= kMostBytes, format, "plan ", name, " is longer than ", kMostBytes, " bytes");
  TESSERA_CHECK(plans.count(name) != 0 || plans.size() < kMostPlans, argument, "name=", name, ": there are ",
                kMostPlans, " plans already");
  TpPlan checked;
  for (const auto& [pattern, style] : read_map(text, "plan " + name)) checked.add(pattern, style);
  plans[name] = text;
}

const TpPlan::Rule* TpPlan::find(const std::string& module) const {
  const Rule* best = nullptr;
  constexpr std::string_view kPrefix = "model.";
  for (const Rule& rule : rules_) {
    const bool match = matches(rule.pattern, module) ||
                       (module.rfind(kPrefix, 0) == 0 &&
                        matches(rule.pattern, std::string_view(module).substr(kPrefix.size())));
    if (match && (!best || rule.pattern.size() > best->pattern.size())) best = &rule;
  }
  return best;
}

TpStyle TpPlan::style(const std::string& module) const {
  const Rule* rule = find(module);
  if (!rule) return TpStyle::replicate;
  // transformers calls the cut of an embedding's entries rowwise, and that of the head's outputs colwise.
  const bool entries = ends_with(module, "embed_tokens") || ends_with(module, "lm_head");
  return entries && rule->style != TpStyle::replicate ? TpStyle::vocab_parallel : rule->style;
}

void TpPlan::check(const std::vector<std::string>& modules, bool sequence_parallel) const {
  std::set<const Rule*> used;
  const std::set<std::string> all(modules.begin(), modules.end());
  const auto expect = [&](const std::string& module, TpStyle wanted, const std::string& because) {
    if (all.count(module) == 0) return;
    TESSERA_CHECK(style(module) == wanted, argument, "tensor-parallel plan: ", module, " is ",
                  std::string(tp_style_name(style(module))), ", but must be ",
                  std::string(tp_style_name(wanted)), " because ", because, " is ",
                  std::string(tp_style_name(style(because))));
  };
  for (const std::string& module : modules) {
    const Rule* rule = find(module);
    if (rule) used.insert(rule);
    if (is_norm(module)) {
      TESSERA_CHECK(style(module) == TpStyle::replicate, argument, "tensor-parallel plan: ", module,
                    " is a norm and cannot be ", std::string(tp_style_name(style(module))));
      TESSERA_CHECK(!rule || !rule->sequence || sequence_parallel, argument, "tensor-parallel plan: ", module,
                    " is sequence_parallel, but parallel.sequence_parallel=false");
      continue;
    }
    TESSERA_CHECK(!complete_ || rule, argument, "tensor-parallel plan: no pattern matches ", module,
                  ": give it a style, replicate if it is to be whole on every rank");
    if (ends_with(module, ".q_a_proj") || ends_with(module, ".kv_a_proj_with_mqa")) {
      TESSERA_CHECK(style(module) == TpStyle::replicate, argument, "tensor-parallel plan: ", module,
                    " makes a latent and cannot be ", std::string(tp_style_name(style(module))));
    }
    const bool attention = ends_with(module, ".q_proj") || ends_with(module, ".q_b_proj");
    const bool enters = attention || ends_with(module, ".gate_proj");
    if (enters) {
      const TpStyle own = style(module);
      TESSERA_CHECK(own == TpStyle::colwise || own == TpStyle::replicate, argument,
                    "tensor-parallel plan: ", module, " cannot be ", std::string(tp_style_name(own)),
                    ": colwise or replicate");
      const TpStyle out = own == TpStyle::colwise ? TpStyle::rowwise : TpStyle::replicate;
      for (const char* name : {"k_proj", "v_proj", "kv_b_proj"}) {
        if (attention) expect(sibling(module, name), own, module);
      }
      if (!attention) expect(sibling(module, "up_proj"), own, module);
      expect(sibling(module, attention ? "o_proj" : "down_proj"), out, module);
    }
  }
  for (const Rule& rule : rules_) {
    // With tied embeddings the head has no weight of its own, but plans name it all the same.
    const bool known = used.count(&rule) != 0 || matches(rule.pattern, "lm_head");
    TESSERA_CHECK(!complete_ || known, argument, "tensor-parallel plan: the pattern \"", rule.pattern,
                  "\" matches no module that no longer pattern matches");
  }
}

std::string to_text(const TpPlan& plan, const std::vector<std::unique_ptr<Unit>>& units) {
  // Layers differ in their number only: one line for all that are alike.
  std::vector<std::pair<std::string, std::string>> lines;
  std::set<std::string> seen;
  for (const auto& unit : units) {
    for (const ParamSpec& spec : unit->params()) {
      if (!ends_with(spec.name, ".weight") || !spec.primary) continue;
      std::string module = spec.name.substr(0, spec.name.size() - std::string_view(".weight").size());
      const std::string style(tp_style_name(plan.style(module)));
      const size_t number = module.find(".layers.");
      if (number != std::string::npos) {
        const size_t begin = number + std::string_view(".layers.").size();
        module.replace(begin, module.find('.', begin) - begin, "*");
      }
      if (seen.insert(module + style).second) lines.emplace_back(module, style);
    }
  }
  std::string text = cat("tensor parallel plan: ", plan.source(), "\n");
  for (const auto& [module, style] : lines) {
    text += "  " + module + std::string(module.size() < 44 ? 44 - module.size() : 1, ' ') + style + "\n";
  }
  return text;
}

}  // namespace tessera
