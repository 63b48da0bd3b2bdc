// Time and memory of a training step by formulas: a first sieve for the search, in microseconds a candidate.
#pragma once

#include <map>
#include <tuple>

#include "train/plan_search.h"

namespace tessera {

class PlanFormulas {
 public:
  PlanFormulas(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster);

  struct Estimate {
    double seconds = 0;
    double bytes = 0;
  };
  /// `mesh` is the candidate's. The estimate is near what planning and walking give (tests hold it to that),
  /// not equal to it.
  Estimate estimate(const PlanCandidate& candidate, const Mesh& mesh);

  /// Of the whole model.
  double parameters() const { return parameters_; }

 private:
  struct Parts {
    UnitTimes layers;               ///< of all layers together
    UnitTimes ends;                 ///< of embedding and head
    double saved = 0, working = 0;  ///< bytes of a micro-batch: of all layers, and of one unit
  };
  const Parts& parts(const PlanCandidate& candidate, const Mesh& mesh);
  /// Weights of a pipeline stage on one rank, when gathered.
  struct Storage {
    double dense = 0;
    double experts = 0;
  };
  struct Stage {
    double seconds;  ///< of one micro-batch
    double layers;   ///< share of all
  };
  Stage slowest_stage(int64_t pp, double layers, double ends) const;

  ModelConfig config_;
  SearchOptions options_;
  CostModel cost_;
  double parameters_ = 0;
  double layer_parameters_ = 0;   ///< of all layers, without experts
  double expert_parameters_ = 0;  ///< of all layers
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, int, bool>, Parts> parts_;
};

}  // namespace tessera
