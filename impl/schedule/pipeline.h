// Pipeline schedules as what they are before any communication: for each pp rank the order in which it
// computes on its stages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

enum class PipelineSchedule : int {
  gpipe = 0,        ///< all forwards, then all backwards (Huang et al., 2019)
  one_f_one_b = 1,  ///< PipeDream-flush: a backward as soon as there is one (Narayanan et al., 2021)
  interleaved = 2,  ///< 1F1B with several stages a rank (Narayanan et al., 2021, section 2.2)
  zero_bubble = 3,  ///< ZB-H1: weight gradients fill the bubble (Qi et al., 2023)
  interleaved_zero_bubble = 4,  ///< the same with several stages a rank
  zero_bubble_v = 5,            ///< ZB-V: two stages a rank, laid out as a V (Qi et al., 2024)
  dual_pipe_v = 6,              ///< DualPipeV: DualPipe (DeepSeek-AI, 2024) cut in half
  custom = 7,                   ///< given by the user
};

/// "1f1b" and so on, as in parallel.pp_schedule.
std::string_view schedule_name(PipelineSchedule schedule);
PipelineSchedule parse_pipeline_schedule(const std::string& name);

/// One step of one rank: work of a stage on a micro-batch.
struct StageAction {
  enum class Kind : int {
    forward = 0,
    backward = 1,         ///< gradients of inputs and weights
    backward_input = 2,   ///< of inputs only
    backward_weight = 3,  ///< what backward_input left
  };
  Kind kind;
  int stage;
  int microbatch;
  bool operator==(const StageAction&) const = default;
};

/// Which rank holds which stage, and what each rank does in which order.
struct PipelineOrder {
  std::vector<int> rank_of_stage;
  std::vector<std::vector<StageAction>> ranks;

  int stages() const { return static_cast<int>(rank_of_stage.size()); }
};

/// Stages a rank holds: 1 for gpipe, 1f1b and zb_h1, 2 for the V schedules; the others take what is asked
/// for. `requested` 0: the schedule's own choice. Errors (argument) name the schedule and the number.
int stages_per_rank(PipelineSchedule schedule, int requested);

/// The order of `schedule` over `ranks` pp ranks with `per_rank` stages each. Errors (argument): sizes that
/// the schedule has no order for (dualpipe_v needs 2 * ranks micro-batches).
PipelineOrder make_pipeline_order(PipelineSchedule schedule, int ranks, int per_rank, int microbatches);

/// Reads an order from text: a line per rank, actions separated by commas or spaces, "3F0" for the forward of
/// stage 3 on micro-batch 0, B for a whole backward, I and W for its halves (the compute actions of PyTorch's
/// schedule CSV). Empty fields and lines starting with '#' are passed over. Errors (format) name line and
/// field.
PipelineOrder parse_pipeline_order(const std::string& text);
std::string to_text(const PipelineOrder& order);

/// Throws Error(argument) unless every stage has one rank, and every rank does, for each of its stages and
/// micro-batches, one forward and after it one backward, or its two halves in order.
void validate(const PipelineOrder& order, int ranks, int microbatches);

}  // namespace tessera
