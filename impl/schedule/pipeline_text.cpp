// Pipeline orders as text, and the rules that every order keeps.
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>

#include "core/error.h"
#include "schedule/pipeline.h"

namespace tessera {
namespace {

using Kind = StageAction::Kind;

constexpr std::string_view kLetters = "FBIW";

// Bounds on what a file may name, far above any real pipeline.
constexpr int kMostStages = 1 << 16;
constexpr int kMostMicrobatches = 1 << 20;

std::optional<StageAction> parse_action(std::string_view field) {
  const size_t letter = field.find_first_not_of("0123456789");
  if (letter == 0 || letter == std::string_view::npos) return std::nullopt;
  const size_t kind = kLetters.find(field[letter]);
  if (kind == std::string_view::npos) return std::nullopt;
  StageAction action{static_cast<Kind>(kind), 0, 0};
  const auto number = [](std::string_view text, int limit, int& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size() && out >= 0 && out < limit;
  };
  if (!number(field.substr(0, letter), kMostStages, action.stage)) return std::nullopt;
  if (!number(field.substr(letter + 1), kMostMicrobatches, action.microbatch)) return std::nullopt;
  return action;
}

std::vector<StageAction> parse_rank(const std::string& line, int number) {
  std::vector<StageAction> actions;
  size_t at = 0;
  while (at < line.size()) {
    const size_t begin = line.find_first_not_of(", \t\r", at);
    if (begin == std::string::npos) break;
    at = std::min(line.find_first_of(", \t\r", begin), line.size());
    const std::string_view field = std::string_view(line).substr(begin, at - begin);
    const std::optional<StageAction> action = parse_action(field);
    TESSERA_CHECK(action, format, "pipeline program line ", number, ": \"", std::string(field.substr(0, 32)),
                  "\" is no action such as 3F0");
    actions.push_back(*action);
  }
  return actions;
}

std::string action_text(const StageAction& action) {
  return cat(action.stage, kLetters[static_cast<size_t>(action.kind)], action.microbatch);
}

// What is done of a stage on a micro-batch.
struct Progress {
  int forwards = 0;
  int inputs = 0;
  int weights = 0;
};

void note(Progress& done, const StageAction& action, int rank) {
  const auto require = [&](bool condition, const char* why) {
    TESSERA_CHECK(condition, argument, "pipeline rank ", rank, ": ", action_text(action), " ", why);
  };
  switch (action.kind) {
    case Kind::forward:
      require(++done.forwards == 1, "comes twice");
      return;
    case Kind::backward:
      ++done.weights;
      [[fallthrough]];
    case Kind::backward_input:
      require(done.forwards == 1, "comes before its forward");
      require(++done.inputs == 1, "is a second backward");
      return;
    case Kind::backward_weight:
      require(done.inputs == 1, "comes before its backward_input");
      require(++done.weights == 1, "forms weight gradients twice");
      return;
  }
}

}  // namespace

PipelineOrder parse_pipeline_order(const std::string& text) {
  PipelineOrder order;
  std::istringstream in(text);
  std::string line;
  std::map<int, int> rank_of_stage;
  for (int number = 1; std::getline(in, line); ++number) {
    const size_t first = line.find_first_not_of(", \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    const int rank = static_cast<int>(order.ranks.size());
    order.ranks.push_back(parse_rank(line, number));
    for (const StageAction& action : order.ranks.back()) {
      const int holder = rank_of_stage.emplace(action.stage, rank).first->second;
      TESSERA_CHECK(holder == rank, format, "pipeline program line ", number, ": stage ", action.stage,
                    " is already rank ", holder, "'s");
    }
  }
  for (const auto& [stage, rank] : rank_of_stage) {
    TESSERA_CHECK(stage == order.stages(), format, "pipeline program: stage ", order.stages(),
                  " is missing, stage ", stage, " is there");
    order.rank_of_stage.push_back(rank);
  }
  return order;
}

std::string to_text(const PipelineOrder& order) {
  std::string text;
  for (const std::vector<StageAction>& actions : order.ranks) {
    for (size_t i = 0; i < actions.size(); ++i) text += (i == 0 ? "" : ",") + action_text(actions[i]);
    text += "\n";
  }
  return text;
}

void validate(const PipelineOrder& order, int ranks, int microbatches) {
  TESSERA_CHECK(static_cast<int>(order.ranks.size()) == ranks, argument, "the pipeline program has ",
                order.ranks.size(), " ranks, the mesh pp=", ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    std::map<std::pair<int, int>, Progress> done;
    for (const StageAction& action : order.ranks[rank]) {
      const bool mine = action.stage < order.stages() && order.rank_of_stage[action.stage] == rank;
      TESSERA_CHECK(mine, argument, "pipeline rank ", rank, ": ", action_text(action), " is not its stage");
      TESSERA_CHECK(action.microbatch < microbatches, argument, "pipeline rank ", rank, ": ",
                    action_text(action), " is past the last of ", microbatches, " micro-batches");
      note(done[{action.stage, action.microbatch}], action, rank);
    }
    for (int stage = 0; stage < order.stages(); ++stage) {
      for (int mb = 0; order.rank_of_stage[stage] == rank && mb < microbatches; ++mb) {
        const Progress& progress = done[{stage, mb}];
        TESSERA_CHECK(progress.inputs == 1 && progress.weights == 1, argument, "pipeline rank ", rank,
                      ": stage ", stage, " does not finish micro-batch ", mb);
      }
    }
  }
}

}  // namespace tessera
