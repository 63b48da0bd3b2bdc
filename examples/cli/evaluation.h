// Loss over a dataset, as tessera eval and the validation of tessera train compute it.
#pragma once

#include "job.h"

namespace cli {

struct Evaluation {
  double loss_sum = 0;
  long long labels = 0;
  double loss() const { return loss_sum / static_cast<double>(labels); }
};

/// Evaluates the rest of `data`, or `limit` steps of it (0: all). Collective.
Evaluation evaluate_all(const Setup& setup, const Dataset& data, long long limit);

}  // namespace cli
