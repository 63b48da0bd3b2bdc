// The time of a planned step on a cluster: the programs of its ranks walked under a cost model.
#pragma once

#include "models/model.h"
#include "schedule/timeline.h"
#include "simulate/cluster.h"
#include "simulate/unit_times.h"
#include "train/plan.h"

namespace tessera {

/// What a step takes, and where its time goes. Shares are of the step, over all pp ranks; ranks that differ
/// in dp, cp or tp only do the same at the same time.
struct StepTime {
  double seconds = 0;
  double tokens_per_second = 0;  ///< of the whole job
  double mfu = 0;                ///< operations of the model (model_flops_per_token) over the peak
  double computing = 0;          ///< share
  double exposed = 0;            ///< share: communication that nothing hides, inside units and between them
  double bubble = 0;             ///< share: waiting for other stages, and for their end
};

/// The seconds of each unit of a plan on one micro-batch.
struct PlanTimes {
  std::vector<UnitTimes> units;
  std::vector<double> gathers;   ///< of each unit's weights
  std::vector<double> reduces;   ///< of its gradients over the shards
  std::vector<double> replicas;  ///< and over the replicas
  double transfer = 0;           ///< of one message between neighbouring stages
  double norm = 0;
  std::vector<double> optimizer;  ///< by pp rank
};
PlanTimes plan_times(const TrainingPlan& plan, const ModelConfig& config, const TrainerOptions& options,
                     const CostModel& cost);

/// As a cost for make_timeline(). `times` must outlive it.
TimelineCost plan_cost(const PlanTimes& times);

StepTime time_plan(const TrainingPlan& plan, const ModelConfig& config, const TrainerOptions& options,
                   const Cluster& cluster);

/// The time of a step with `more` times as many further rounds as `longer` has over `shorter`, since every
/// round takes as long as the one before. tokens_per_second stays that of `longer`'s tokens over the new
/// time.
StepTime continued(const StepTime& shorter, const StepTime& longer, int64_t more);

/// Lines for a person, in the manner of to_text(plan).
std::string to_text(const StepTime& time, const Cluster& cluster);

}  // namespace tessera
