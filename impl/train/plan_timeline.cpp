// Costs for the timeline of a plan.
#include "train/plan_timeline.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace tessera {

Timeline plan_timeline(const TrainingPlan& plan, const TimelineRates& rates) {
  double work = 0;
  double elements = 0;
  for (const PlannedUnit& unit : plan.units) {
    work += unit.work;
    elements += static_cast<double>(unit.sizes.full_elements());
  }
  const auto stages = static_cast<double>(std::max<size_t>(1, plan.stage_starts.size()));
  RelativeCosts costs;
  std::vector<double> weights;  // to gather or reduce each unit
  for (const PlannedUnit& unit : plan.units) {
    costs.units.push_back(work > 0 ? unit.work / work * stages : 0);
    const auto full = static_cast<double>(unit.sizes.full_elements());
    weights.push_back(elements > 0 ? rates.collective * full / elements * stages : 0);
  }
  costs.input = costs.weight = rates.backward / 2;
  costs.transfer = rates.transfer;
  const auto cost = [compute = relative_cost(std::move(costs)), weights = std::move(weights)](
                        int rank, Phase phase, const Instruction& now) {
    if (phase != Phase::gather && phase != Phase::reduce) return compute(rank, phase, now);
    return weights.at(now.unit);
  };
  Timeline timeline = make_timeline(plan.programs, cost);
  timeline.stage_starts = plan.stage_starts;
  return timeline;
}

std::string timeline_title(const TrainingPlan& plan, const TimelineRates& rates) {
  const size_t ranks = plan.programs.size();
  std::string title = ranks > 1 ? cat(plan.schedule, " over pp=", ranks) : "no pipeline";
  title += cat(", ", plan.shape.microbatches, " micro-batch", plan.shape.microbatches == 1 ? "" : "es",
               "; backward ", rates.backward, " forwards");
  if (rates.collective > 0) title += cat(", gather or reduction of a stage ", rates.collective);
  if (rates.transfer > 0) title += cat(", transfer ", rates.transfer);
  if (rates.collective == 0 && rates.transfer == 0) title += ", communication takes no time";
  return title;
}

}  // namespace tessera
