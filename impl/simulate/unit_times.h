// How long one rank takes for the units of a model, phase by phase.
#pragma once

#include "context/context_parallel.h"
#include "nn/expert_dispatch.h"
#include "nn/unit.h"
#include "simulate/cost_model.h"
#include "simulate/layer_shape.h"

namespace tessera {

/// One micro-batch on one rank, and whom it meets inside units.
struct UnitWork {
  int64_t tokens = 0;    ///< of this rank
  int64_t document = 0;  ///< tokens of one document over all cp ranks: what attention sees
  GroupShape tp;
  GroupShape cp;
  GroupShape ep;
  bool sequence_parallel = false;
  ContextOptions context;
  ExpertExchange expert_exchange = ExpertExchange::all_to_all;
  Recompute recompute = Recompute::none;
  HeadChunk loss_chunk;
  bool accumulate = false;  ///< weight gradients add up in float32 over several micro-batches
};

struct PhaseTime {
  double compute = 0;
  double exposed = 0;  ///< communication inside the unit that nothing hides

  double total() const { return compute + exposed; }
  PhaseTime& operator+=(const PhaseTime& other) {
    compute += other.compute;
    exposed += other.exposed;
    return *this;
  }
};

/// Seconds of a unit's phases. A whole backward is input + weight.
struct UnitTimes {
  PhaseTime forward;
  PhaseTime again;  ///< forward for what it saves, under full recomputation
  PhaseTime input;
  PhaseTime weight;

  UnitTimes& operator+=(const UnitTimes& other) {
    forward += other.forward;
    again += other.again;
    input += other.input;
    weight += other.weight;
    return *this;
  }
};

UnitTimes layer_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work);
UnitTimes embedding_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work);
UnitTimes head_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work);

/// Operations of a forward and backward of the whole model on one token, without recomputation: 6 for each
/// weight of a matrix that it meets (of the experts, those that it chooses), and 6 * (width of keys + width
/// of values) * (mean length that causal attention or its window lets a token see) a layer. What MFU counts.
double model_flops_per_token(const ModelConfig& config, int64_t document);

}  // namespace tessera
