// Learning rate schedules and the clipping coefficient, as closed formulas of the step.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "optim/optimizer.h"

namespace tessera {
namespace {

int64_t decay_length(const ScheduleOptions& o) {
  return o.decay_steps > 0 ? o.decay_steps : std::max<int64_t>(1, o.total_steps / 10);
}

}  // namespace

void validate_schedule(const ScheduleOptions& o, double lr) {
  TESSERA_CHECK(o.name == "constant" || o.name == "linear" || o.name == "cosine" || o.name == "wsd", argument,
                "schedule.name ", o.name, " is unknown (constant, linear, cosine, wsd)");
  TESSERA_CHECK(std::isfinite(lr) && lr >= 0, argument, "optimizer.lr ", lr, " is negative or not finite");
  TESSERA_CHECK(std::isfinite(o.min_lr) && o.min_lr >= 0, argument, "schedule.min_lr ", o.min_lr,
                " is negative or not finite");
  TESSERA_CHECK(o.min_lr <= lr, argument, "schedule.min_lr ", o.min_lr, " is above optimizer.lr ", lr);
  TESSERA_CHECK(o.warmup_steps >= 0, argument, "schedule.warmup_steps ", o.warmup_steps, " is negative");
  TESSERA_CHECK(o.decay_steps >= 0, argument, "schedule.decay_steps ", o.decay_steps, " is negative");
  TESSERA_CHECK(o.total_steps >= 0, argument, "schedule.total_steps ", o.total_steps, " is negative");
  if (o.name == "constant" && o.total_steps == 0) return;
  TESSERA_CHECK(o.total_steps > 0, argument, "schedule.name ", o.name, " needs total_steps");
  TESSERA_CHECK(o.warmup_steps <= o.total_steps, argument, "schedule.warmup_steps ", o.warmup_steps,
                " is above total_steps ", o.total_steps);
  TESSERA_CHECK(o.name != "wsd" || decay_length(o) <= o.total_steps - o.warmup_steps, argument,
                "schedule.warmup_steps ", o.warmup_steps, " and decay_steps ", decay_length(o),
                " together are above total_steps ", o.total_steps);
}

double learning_rate(const ScheduleOptions& o, double lr, int64_t step) {
  validate_schedule(o, lr);
  TESSERA_CHECK(step >= 1, argument, "learning_rate: step ", step, " (steps count from 1)");
  if (step <= o.warmup_steps) return lr * static_cast<double>(step) / static_cast<double>(o.warmup_steps);
  if (o.name == "constant") return lr;
  if (step >= o.total_steps) return o.min_lr;
  const int64_t begin = o.name == "wsd" ? o.total_steps - decay_length(o) : o.warmup_steps;
  if (step <= begin) return lr;
  const double p = static_cast<double>(step - begin) / static_cast<double>(o.total_steps - begin);
  const double shape = o.name == "cosine" ? 0.5 * (1 + std::cos(M_PI * p)) : 1 - p;
  return o.min_lr + (lr - o.min_lr) * shape;
}

double clip_coefficient(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  const double coefficient = max_norm / (norm + 1e-6);
  return coefficient > 1 ? 1 : coefficient;
}

}  // namespace tessera
