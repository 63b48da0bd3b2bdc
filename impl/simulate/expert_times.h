// How long one rank takes for a layer's experts: routing, rows on their way, the experts' products.
#pragma once

#include "simulate/unit_times.h"

namespace tessera {

/// What experts add to a layer, beside the MLP that all tokens pass. Tokens are taken to choose all experts
/// equally often, so that every rank has as many rows as it routes.
UnitTimes expert_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work);

}  // namespace tessera
