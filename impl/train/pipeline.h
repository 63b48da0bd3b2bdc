// A trainer's pipeline: which units each stage has, and the order of work for any number of micro-batches.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/unit.h"
#include "parallel/sharded_model.h"
#include "schedule/pipeline.h"

namespace tessera {

struct PipelineOptions {
  PipelineSchedule schedule = PipelineSchedule::one_f_one_b;
  int per_rank = 0;                   ///< stages a rank; 0: the schedule's own choice
  std::vector<int64_t> stage_layers;  ///< decoder layers of each stage; empty: balanced by the work they are
  std::string program;                ///< for schedule custom: text of parse_pipeline_order()
};

/// The work of a unit on a token, by the elements of the matrices it multiplies with, experts by the share of
/// tokens that choose them; an embedding only looks rows up.
double unit_work(const std::vector<std::unique_ptr<Unit>>& units, size_t index);

class Pipeline {
 public:
  /// For a mesh with pp `ranks`. Errors (argument): options that do not go together, an impossible split.
  Pipeline(const PipelineOptions& options, int ranks, const std::vector<std::unique_ptr<Unit>>& units);

  const StagePlacement& stages() const { return stages_; }
  /// Errors (argument): a schedule that does not fit this number of micro-batches.
  PipelineOrder order(int microbatches) const;

 private:
  PipelineSchedule schedule_;
  int ranks_;
  int per_rank_ = 1;
  StagePlacement stages_;
  std::optional<PipelineOrder> custom_;
};

/// Whether the first and the last stage of the pipeline are on different ranks.
bool has_split_ends(const PipelineOptions& options, int ranks);

}  // namespace tessera
