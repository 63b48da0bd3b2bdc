// Grouping of model units by layer, size or name.
#include "parallel/unit_policy.h"

#include <algorithm>

#include "core/error.h"
#include "tensor/placement.h"

namespace tessera {
namespace {

// Shell-style match: '*' is any run of characters, '?' any one.
bool glob_match(const char* pattern, const char* text) {
  const char* star = nullptr;
  const char* resume = nullptr;
  while (*text != '\0') {
    if (*pattern == '*') {
      star = pattern++;
      resume = text;
    } else if (*pattern == '?' || *pattern == *text) {
      ++pattern;
      ++text;
    } else if (star != nullptr) {
      pattern = star + 1;
      text = ++resume;
    } else {
      return false;
    }
  }
  while (*pattern == '*') ++pattern;
  return *pattern == '\0';
}

int64_t parameters(const Unit& unit) {
  int64_t count = 0;
  for (const ParamSpec& spec : unit.params()) count += checked_numel(spec.shape);
  return count;
}

std::vector<int> starts_by_size(const std::vector<std::unique_ptr<Unit>>& units, int64_t minimum) {
  TESSERA_CHECK(minimum >= 0, argument, "min_parameters=", minimum, " is negative");
  std::vector<int> starts;
  int64_t open = minimum;  // parameters of the group so far; a full one makes the next unit start another
  for (size_t i = 0; i < units.size(); ++i) {
    if (i == 0 || open >= minimum) {
      starts.push_back(static_cast<int>(i));
      open = 0;
    }
    open += parameters(*units[i]);
  }
  if (starts.size() > 1 && open < minimum) starts.pop_back();  // too small a tail joins its neighbour
  return starts;
}

std::vector<int> starts_by_name(const std::vector<std::unique_ptr<Unit>>& units,
                                const std::vector<std::string>& globs) {
  std::vector<bool> used(globs.size(), false);
  std::vector<int> starts;
  for (size_t i = 0; i < units.size(); ++i) {
    bool matched = false;
    for (size_t g = 0; g < globs.size(); ++g) {
      if (!glob_match(globs[g].c_str(), units[i]->name().c_str())) continue;
      matched = true;
      used[g] = true;
    }
    if (i == 0 || matched) starts.push_back(static_cast<int>(i));
  }
  for (size_t g = 0; g < globs.size(); ++g) {
    TESSERA_CHECK(used[g], argument, "unit name \"", globs[g], "\" matches none of the ", units.size(),
                  " units of the model (first: ", units.front()->name(), ", last: ", units.back()->name(),
                  ")");
  }
  return starts;
}

}  // namespace

std::vector<int> group_starts(const std::vector<std::unique_ptr<Unit>>& units, const UnitPolicy& policy) {
  TESSERA_CHECK(!units.empty(), argument, "the model has no units");
  switch (policy.kind) {
    case UnitPolicy::Kind::size:
      return starts_by_size(units, policy.min_parameters);
    case UnitPolicy::Kind::names:
      return starts_by_name(units, policy.names);
    case UnitPolicy::Kind::layer:
      break;
  }
  std::vector<int> starts(units.size());
  for (size_t i = 0; i < starts.size(); ++i) starts[i] = static_cast<int>(i);
  return starts;
}

std::vector<int> group_starts(const std::vector<std::unique_ptr<Unit>>& units, const UnitPolicy& policy,
                              const std::vector<int>& stage_starts) {
  std::vector<int> starts = group_starts(units, policy);
  starts.insert(starts.end(), stage_starts.begin(), stage_starts.end());
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  return starts;
}

std::vector<int> stage_units(const std::vector<int>& group_starts, const std::vector<int>& stage_starts) {
  std::vector<int> units;
  for (const int first : stage_starts) {
    const auto at = std::lower_bound(group_starts.begin(), group_starts.end(), first);
    units.push_back(static_cast<int>(at - group_starts.begin()));
  }
  return units;
}

}  // namespace tessera
