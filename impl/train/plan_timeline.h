// The timeline of a planned step: how a pipeline's schedule looks when units cost what their matrices weigh.
#pragma once

#include <string>

#include "schedule/timeline.h"
#include "train/plan.h"

namespace tessera {

/// What things cost beside a forward. 1 is the forward of a mean stage on one micro-batch.
struct TimelineRates {
  double backward = 2;    ///< a backward, in forwards of the same unit; its two halves are equal
  double collective = 0;  ///< to gather or reduce the weights of a mean stage, beside computing
  double transfer = 0;    ///< from stage to stage
};

/// The walk over the programs of all pp ranks. The optimizer takes no time. Errors (argument): rates that are
/// negative or not finite, more events than a picture can have.
Timeline plan_timeline(const TrainingPlan& plan, const TimelineRates& rates);

/// "1f1b over pp=4, 8 micro-batches; backward 2 forwards": what a picture of it says above.
std::string timeline_title(const TrainingPlan& plan, const TimelineRates& rates);

}  // namespace tessera
