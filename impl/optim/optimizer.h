// Optimizers over the shards a rank owns.
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
  double momentum = 0.0;       ///< sgd
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update. `grad_scale` multiplies every gradient first (clipping folded in). `step` counts from 1.
  virtual void step(std::vector<ParamShard>& shards, double lr, double grad_scale, int64_t step) = 0;
  /// State tensors of shard `index`, by name (adamw: exp_avg, exp_avg_sq), same length as the shard; made on first
  /// use. What checkpoints save and resharding moves.
  virtual std::vector<std::pair<std::string, at::Tensor>> state(const std::vector<ParamShard>& shards,
                                                                size_t index) = 0;
};

/// Unknown names and bounds are argument errors.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options);

struct ScheduleOptions {
  std::string name = "constant";  ///< constant | linear | cosine | wsd
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;        ///< 0 is allowed for constant only
  int64_t decay_steps = 0;        ///< wsd: length of the final decay; 0: a tenth of total_steps
  double min_lr = 0;              ///< absolute floor
};

/// The learning rate of step `step` (from 1): linear warm-up to `lr`, then the named shape down to min_lr.
double learning_rate(const ScheduleOptions& options, double lr, int64_t step);

}  // namespace tessera
