// The schedules that lay two stages a rank out as a V: the first half of the stages goes down the ranks, the
// second half comes back, so that the first and the last stage share rank 0.
#pragma once

#include "schedule/pipeline.h"

namespace tessera {

PipelineOrder zero_bubble_v_order(int ranks, int microbatches);
PipelineOrder dual_pipe_v_order(int ranks, int microbatches);

}  // namespace tessera
