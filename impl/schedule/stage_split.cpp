// Stage splits.
#include "schedule/stage_split.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace tessera {
namespace {

// Cuts greedily so that no stage costs more than `limit` and enough units are left for the stages to come.
// Empty when that takes more stages than there are.
StageStarts cut(const std::vector<double>& costs, int stages, double limit) {
  StageStarts starts;
  double sum = 0;
  const int units = static_cast<int>(costs.size());
  for (int unit = 0; unit < units; ++unit) {
    const bool begin = starts.empty() || sum + costs[unit] > limit;
    const bool needed = units - unit <= stages - static_cast<int>(starts.size());
    if (begin || needed) {
      if (static_cast<int>(starts.size()) == stages) return {};
      starts.push_back(unit);
      sum = 0;
    }
    sum += costs[unit];
    if (sum > limit) return {};
  }
  return starts;
}

}  // namespace

StageStarts balanced_stages(const std::vector<double>& costs, int stages) {
  TESSERA_CHECK(stages >= 1 && stages <= static_cast<int>(costs.size()), argument, stages,
                " pipeline stages for ", costs.size(), " units (embedding, layers, head)");
  // The least limit is the cost of some run of units: every such sum is a candidate of the bisection.
  double low = *std::max_element(costs.begin(), costs.end());
  double high = std::accumulate(costs.begin(), costs.end(), 0.0);
  StageStarts best = cut(costs, stages, high * (1 + 1e-12));
  for (int i = 0; i < 64; ++i) {
    const double middle = (low + high) / 2;
    StageStarts starts = cut(costs, stages, middle * (1 + 1e-12));
    if (starts.empty()) {
      low = middle;
    } else {
      high = middle;
      best = std::move(starts);
    }
  }
  StageStarts least = cut(costs, stages, low * (1 + 1e-12));
  return least.empty() ? best : least;
}

StageStarts stages_from_layers(const std::vector<int64_t>& layers_per_stage, int64_t layers, int stages) {
  TESSERA_CHECK(static_cast<int64_t>(layers_per_stage.size()) == stages, argument, "pp_split names ",
                layers_per_stage.size(), " stages, there are ", stages);
  StageStarts starts;
  int64_t sum = 0;
  for (size_t stage = 0; stage < layers_per_stage.size(); ++stage) {
    const int64_t count = layers_per_stage[stage];
    TESSERA_CHECK(count >= 0 && count <= layers - sum, argument, "pp_split: stage ", stage, " has ", count,
                  " layers, ", layers - sum, " are left");
    const bool ends = stage == 0 || stage + 1 == layers_per_stage.size();
    TESSERA_CHECK(count > 0 || ends, argument, "pp_split: stage ", stage, " has no layers");
    starts.push_back(stage == 0 ? 0 : static_cast<int>(1 + sum));
    sum += count;
  }
  TESSERA_CHECK(sum == layers, argument, "pp_split adds up to ", sum, " layers, the model has ", layers);
  return starts;
}

}  // namespace tessera
