// Tensor-parallel plans: which style each weight of a model gets, and who said so.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/unit.h"

namespace tessera {

struct ModelConfig;

enum class TpStyle : int {
  replicate = 0,       ///< every rank has all of it
  colwise = 1,         ///< outputs are cut
  rowwise = 2,         ///< inputs are cut
  vocab_parallel = 3,  ///< entries of an embedding or of the output projection are cut
};
std::string_view tp_style_name(TpStyle style);

/// Rules of name patterns, "model.layers.*.self_attn.q_proj" -> colwise; a '*' stands for any characters, a
/// leading "model." may be left out, and of several patterns that match, the longest counts.
///
/// There are four levels, of which the first that there is counts: (1) the user's plan, (2) the plan of the
/// architecture, (3) base_model_tp_plan in the checkpoint's config.json, (4) a generic one by the names that
/// most checkpoints use.
class TpPlan {
 public:
  /// `requested` is parallel.tp_plan: "auto" for the levels from 2 on, "architecture", "checkpoint" or
  /// "generic" for one of them, the name of a plan that the host has registered (config.tp_plans), a file
  /// (.json, .yaml or .yml), or the map itself as JSON text. Errors
  /// (argument, format, io): a level the model does not have, a style that is not known.
  static TpPlan choose(const ModelConfig& config, const std::string& requested);

  /// "architecture LlamaForCausalLM": the level and where it comes from.
  const std::string& source() const { return source_; }

  /// Throws Error(argument) unless the rules can be carried out on these parameters: in a user's plan every
  /// matrix has a style and every pattern a match; q, k, v are cut alike with o the other way, gate and up
  /// with down; norms are not cut; the ends of tied embeddings agree. The message names parameter and style.
  void check(const std::vector<std::string>& modules, bool sequence_parallel) const;

  /// The style of a module ("model.layers.0.mlp.up_proj"); replicate when no rule matches.
  TpStyle style(const std::string& module) const;
  /// Whether a block is cut: its first module decides, check() has made sure that the others agree.
  bool splits(const std::string& module) const { return style(module) != TpStyle::replicate; }

 private:
  struct Rule {
    std::string pattern;
    TpStyle style;
    bool sequence;  ///< written sequence_parallel: a norm over this rank's tokens
  };

  friend void register_tp_plan(std::map<std::string, std::string>& plans, const std::string& name,
                               const std::string& text);

  const Rule* find(const std::string& module) const;
  void add(const std::string& pattern, const std::string& style);

  std::vector<Rule> rules_;
  std::string source_;
  bool complete_ = false;  ///< the user's: must name every matrix, and nothing that is not there
};

/// Adds a plan that `parallel.tp_plan=name` then asks for, or replaces the one of that name. `text` is the
/// map as JSON or YAML. Whether it fits a model is checked where it is used. Errors: argument (a name that is
/// not of letters, digits, '_', '-' and '.', or means something else; an unknown style; more than 256 plans),
/// format (no map of texts).
void register_tp_plan(std::map<std::string, std::string>& plans, const std::string& name,
                      const std::string& text);

/// A table of modules and styles for a person, layers that are alike in one line.
std::string to_text(const TpPlan& plan, const std::vector<std::unique_ptr<Unit>>& units);

}  // namespace tessera
