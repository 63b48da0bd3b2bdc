// What routers sent to experts in a step, over all ranks, and what follows from it: metrics, and selection
// biases that balance the load without a loss (Wang et al., 2024; DeepSeek-V3, 2024, section 2.1.2).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/sharded_model.h"
#include "train/trainer.h"

namespace tessera {

class Moe;

/// The loads of all layers with experts. Counts are whole numbers, which any order of summing leaves exact:
/// they and the biases are the same bit for bit on all ranks, and on all meshes whose routers choose alike.
class ExpertLoads {
 public:
  /// `counts` false: this rank routes what another rank of tp routes too, and says nothing. `model` outlives
  /// this.
  ExpertLoads(ShardedModel& model, int64_t experts, bool counts);

  /// Appends this rank's part since it was last taken; as many values on every rank.
  void take(std::vector<double>& values);
  /// The sum over all ranks of what take appended, which adds to the step.
  void add(const double* sums);
  /// What routers choose in the forwards between the two; the second appends this rank's part, as many values
  /// on every rank.
  void begin_census();
  void end_census(std::vector<double>& values);
  /// Router::expect of all layers, from the sum over all ranks of what end_census appended; nothing:
  /// undefined.
  void expect(const std::vector<double>& sums);
  /// bias += speed * sign(mean load - load), by the loads of the step. Every rank does the same to its copy.
  void update_biases(double speed);
  /// The step is over: what comes is of the next.
  void begin_step() { finished_ = true; }
  /// Forgets the step under way.
  void clear();
  /// Of the step so far, or of the one that is over.
  ExpertMetrics metrics() const;

 private:
  struct Layer {
    Moe* moe;                          ///< may be another stage's, which never runs here
    std::optional<ParamAddress> bias;  ///< where this rank has one
  };
  struct Sums {
    std::vector<double> counts;  ///< [layers, experts]
    double tokens = 0;           ///< times layers
    double balance_loss = 0;     ///< over tokens and layers, like the next
    double z_loss = 0;
  };

  ShardedModel& model_;
  int64_t experts_;
  bool counts_;
  std::vector<Layer> layers_;
  Sums step_;
  bool finished_ = false;
};

}  // namespace tessera
