// Stage placement and order of a trainer's pipeline.
#include "train/pipeline.h"

#include "core/error.h"
#include "schedule/stage_split.h"

namespace tessera {
namespace {

std::vector<int> rank_of_stage(const PipelineOptions& options, int ranks, int per_rank) {
  // Where stages are does not depend on the micro-batches.
  return make_pipeline_order(options.schedule, ranks, per_rank, 0).rank_of_stage;
}

}  // namespace

double unit_work(const std::vector<std::unique_ptr<Unit>>& units, size_t index) {
  double elements = 0;
  const auto add = [&](const ParamSpec& spec) {
    if (spec.shape.size() > 1) elements += spec.token_share * static_cast<double>(checked_numel(spec.shape));
  };
  if (index == 0) return 0;
  for (const ParamSpec& spec : units[index]->params()) add(spec);
  for (const Unit::Borrowed& from : units[index]->borrowed()) add(units[from.unit]->params()[from.weight]);
  return elements;
}

bool has_split_ends(const PipelineOptions& options, int ranks) {
  if (ranks == 1) return false;
  const PipelineOrder order =
      options.schedule == PipelineSchedule::custom
          ? parse_pipeline_order(options.program)
          : make_pipeline_order(options.schedule, ranks, stages_per_rank(options.schedule, options.per_rank),
                                0);
  return !order.rank_of_stage.empty() && order.rank_of_stage.front() != order.rank_of_stage.back();
}

Pipeline::Pipeline(const PipelineOptions& options, int ranks, const std::vector<std::unique_ptr<Unit>>& units)
    : schedule_(options.schedule), ranks_(ranks) {
  if (ranks == 1) return;
  if (schedule_ == PipelineSchedule::custom) {
    TESSERA_CHECK(!options.program.empty(), argument, "pp_schedule=custom needs pp_program");
    custom_ = parse_pipeline_order(options.program);
    TESSERA_CHECK(static_cast<int>(custom_->ranks.size()) == ranks, argument, "the pipeline program has ",
                  custom_->ranks.size(), " ranks, the mesh pp=", ranks);
    stages_.rank_of_stage = custom_->rank_of_stage;
  } else {
    per_rank_ = stages_per_rank(schedule_, options.per_rank);
    stages_.rank_of_stage = rank_of_stage(options, ranks, per_rank_);
  }
  const int stages = static_cast<int>(stages_.rank_of_stage.size());
  if (!options.stage_layers.empty()) {
    stages_.starts = stages_from_layers(options.stage_layers, static_cast<int64_t>(units.size()) - 2, stages);
    return;
  }
  std::vector<double> costs;
  for (size_t unit = 0; unit < units.size(); ++unit) costs.push_back(unit_work(units, unit));
  stages_.starts = balanced_stages(costs, stages);
}

PipelineOrder Pipeline::order(int microbatches) const {
  if (!custom_) return make_pipeline_order(schedule_, ranks_, per_rank_, microbatches);
  validate(*custom_, ranks_, microbatches);
  return *custom_;
}

}  // namespace tessera
