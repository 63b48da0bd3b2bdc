// Optimizers over the shards a rank owns, learning rate schedules, and the gradient clipping coefficient.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace tessera {

/// One parameter's shard as the optimizer sees it. Tensors are 1-D, contiguous, of equal length (may be 0).
struct ParamShard {
  std::string name;
  at::Tensor master;   ///< what is trained: float32, or the compute dtype when precision.master says so
  at::Tensor grad;     ///< float32, already reduced
  at::Tensor compute;  ///< defined when weights are computed in another dtype: receives the rounded master
  bool decay = true;
};

struct OptimizerOptions {
  std::string name = "adamw";  ///< adamw | sgd
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double momentum = 0.0;  ///< sgd
};

/// One rank's optimizer. Not thread-safe: one call at a time. State is float32 whatever the master's dtype,
/// because a bfloat16 second moment cannot follow changes of a factor 1 - beta2.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update. `grad_scale` multiplies every gradient first (clipping folded in). `step` counts from 1.
  /// With g = grad * grad_scale and wd = weight_decay for shards that decay, else 0:
  ///
  /// adamw (torch.optim.AdamW):  m = m + (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
  ///     master = master (1 - lr wd) - lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
  /// sgd (torch.optim.SGD):      buf = momentum buf + g + wd master;  master = master - lr buf
  ///
  /// Each element is computed alone in float32: the result does not depend on how parameters are sharded or
  /// on the number of threads. Errors (argument): tensors of a shard that do not fit each other, step < 1, a
  /// learning rate or scale that is not finite; (state): shards that changed their number or lengths since
  /// the first call.
  virtual void step(std::vector<ParamShard>& shards, double lr, double grad_scale, int64_t step) = 0;
  /// State tensors of shard `index`, by name (adamw: exp_avg, exp_avg_sq; sgd with momentum:
  /// momentum_buffer), float32, same length as the shard; made, as zeros, on first use. What checkpoints save
  /// and resharding moves: writing into them sets the state.
  virtual std::vector<std::pair<std::string, at::Tensor>> state(const std::vector<ParamShard>& shards,
                                                                size_t index) = 0;
};

/// Unknown names and values out of bounds are argument errors that name the option.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options);

struct ScheduleOptions {
  std::string name = "constant";  ///< constant | linear | cosine | wsd
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;  ///< 0 is allowed for constant only
  int64_t decay_steps = 0;  ///< wsd: length of the final decay; 0: a tenth of total_steps
  double min_lr = 0;        ///< absolute floor
};

/// The learning rate of step s (from 1). With W = warmup_steps, N = total_steps, floor = min_lr:
///
///     s <= W:    lr * s / W                                  (all schedules; step W is the first at full
///     rate) constant:  lr linear:    floor + (lr - floor) * (1 - p)              p = (s - W) / (N - W)
///     cosine:    floor + (lr - floor) * (1 + cos(pi p)) / 2
///     wsd:       lr until step N - D, then linear down to the floor at step N     D = decay_steps
///
/// After step N: the floor. Warm-up may start below the floor. Errors (argument): a rate or floor that is
/// negative, not finite or floor > lr, warmup_steps > total_steps, total_steps missing, warmup_steps +
/// decay_steps > total_steps, step < 1.
double learning_rate(const ScheduleOptions& options, double lr, int64_t step);

/// The checks of learning_rate alone, for finding a bad configuration before the first step.
void validate_schedule(const ScheduleOptions& options, double lr);

/// What gradients are multiplied by so that their global norm is at most `max_norm`, as torch's
/// clip_grad_norm_: min(1, max_norm / (norm + 1e-6)). A norm that is not finite gives NaN or 0 as torch does:
/// callers look at the norm first. max_norm 0 or less means no clipping: 1.
double clip_coefficient(double norm, double max_norm);

}  // namespace tessera
