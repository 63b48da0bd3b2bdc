// The orders of the pipeline schedules whose ranks hold their stages in turn.
#include "schedule/pipeline.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "schedule/pipeline_v.h"

namespace tessera {
namespace {

using Kind = StageAction::Kind;

constexpr std::array<std::pair<PipelineSchedule, std::string_view>, 8> kNames = {{
    {PipelineSchedule::gpipe, "gpipe"},
    {PipelineSchedule::one_f_one_b, "1f1b"},
    {PipelineSchedule::interleaved, "interleaved"},
    {PipelineSchedule::zero_bubble, "zb_h1"},
    {PipelineSchedule::interleaved_zero_bubble, "interleaved_zb"},
    {PipelineSchedule::zero_bubble_v, "zb_v"},
    {PipelineSchedule::dual_pipe_v, "dualpipe_v"},
    {PipelineSchedule::custom, "custom"},
}};

std::vector<StageAction> gpipe_rank(int rank, int microbatches) {
  std::vector<StageAction> actions;
  for (int mb = 0; mb < microbatches; ++mb) actions.push_back({Kind::forward, rank, mb});
  for (int mb = 0; mb < microbatches; ++mb) actions.push_back({Kind::backward, rank, mb});
  return actions;
}

// The n-th forward or backward of a rank under interleaving: micro-batches go in rounds of as many as there
// are ranks, each of which passes all stages of the rank before the next round begins.
class Interleaving {
 public:
  Interleaving(int rank, int ranks, int per_rank) : rank_(rank), ranks_(ranks), per_rank_(per_rank) {}

  StageAction forward(int n) const { return at(n, false, Kind::forward); }
  StageAction backward(int n, Kind kind) const { return at(n, true, kind); }

 private:
  StageAction at(int n, bool reversed, Kind kind) const {
    if (per_rank_ == 1) return {kind, rank_, n};
    const int round = n / (ranks_ * per_rank_);
    const int inside = n % (ranks_ * per_rank_);
    const int chunk = reversed ? per_rank_ - 1 - inside / ranks_ : inside / ranks_;
    return {kind, chunk * ranks_ + rank_, round * ranks_ + inside % ranks_};
  }

  int rank_;
  int ranks_;
  int per_rank_;
};

// 1F1B and its relatives. Before the first backward a rank runs the forwards that the ranks behind it need to
// start theirs; with `split` its weight gradients lag behind by `rank` steps, where the ranks before it would
// wait for input gradients.
std::vector<StageAction> one_f_one_b_rank(int rank, int ranks, int per_rank, int microbatches, bool split) {
  const Interleaving order(rank, ranks, per_rank);
  // The last round is filled up on paper: an order stays valid when micro-batches are left out of it.
  const int rounded = per_rank == 1 ? microbatches : (microbatches + ranks - 1) / ranks * ranks;
  const int total = per_rank * rounded;
  const int lead = per_rank == 1 ? ranks - 1 - rank : (per_rank - 1) * ranks + 2 * (ranks - 1 - rank);
  const int warmup = std::min(lead, total);
  const int lag = split ? rank : 0;
  std::vector<StageAction> actions;
  int forwards = 0;
  int weights = 0;
  while (forwards < warmup) actions.push_back(order.forward(forwards++));
  for (int n = 0; n < total; ++n) {
    if (forwards < total) actions.push_back(order.forward(forwards++));
    actions.push_back(order.backward(n, split ? Kind::backward_input : Kind::backward));
    // Once there are no forwards left, nothing else fills the time until the next gradient comes.
    const bool draining = forwards == total && n >= total - warmup;
    if (split && (n >= lag || draining)) actions.push_back(order.backward(weights++, Kind::backward_weight));
  }
  while (split && weights < total) actions.push_back(order.backward(weights++, Kind::backward_weight));
  std::erase_if(actions, [&](const StageAction& action) { return action.microbatch >= microbatches; });
  return actions;
}

PipelineOrder in_turn(int ranks, int per_rank) {
  PipelineOrder order;
  for (int stage = 0; stage < ranks * per_rank; ++stage) order.rank_of_stage.push_back(stage % ranks);
  return order;
}

}  // namespace

std::string_view schedule_name(PipelineSchedule schedule) {
  for (const auto& [value, name] : kNames) {
    if (value == schedule) return name;
  }
  throw Error(Code::internal, "a pipeline schedule without a name");
}

PipelineSchedule parse_pipeline_schedule(const std::string& name) {
  std::string known;
  for (const auto& [value, text] : kNames) {
    if (text == name) return value;
    known += cat(known.empty() ? "" : ", ", text);
  }
  throw Error(Code::argument, cat("pp_schedule=\"", name, "\" is unknown: ", known, " are known"));
}

int stages_per_rank(PipelineSchedule schedule, int requested) {
  using S = PipelineSchedule;
  TESSERA_CHECK(requested >= 0, argument, "pp_virtual=", requested, " is negative");
  const bool one = schedule == S::gpipe || schedule == S::one_f_one_b || schedule == S::zero_bubble;
  const bool two = schedule == S::zero_bubble_v || schedule == S::dual_pipe_v;
  if (one || two) {
    const int only = one ? 1 : 2;
    TESSERA_CHECK(requested == 0 || requested == only, argument, "pp_virtual=", requested, ": ",
                  schedule_name(schedule), " has ", only, only == 1 ? " stage" : " stages", " a rank");
    return only;
  }
  return requested == 0 ? 2 : requested;
}

PipelineOrder make_pipeline_order(PipelineSchedule schedule, int ranks, int per_rank, int microbatches) {
  using S = PipelineSchedule;
  TESSERA_CHECK(ranks >= 1 && per_rank >= 1, argument, "pp=", ranks, " with ", per_rank,
                " stages a rank is not possible");
  TESSERA_CHECK(microbatches >= 0, argument, "microbatches=", microbatches, " is negative");
  if (schedule == S::zero_bubble_v) return zero_bubble_v_order(ranks, microbatches);
  if (schedule == S::dual_pipe_v) return dual_pipe_v_order(ranks, microbatches);
  TESSERA_CHECK(schedule != S::custom, argument, "pp_schedule=custom needs pp_program");
  PipelineOrder order = in_turn(ranks, per_rank);
  const bool split = schedule == S::zero_bubble || schedule == S::interleaved_zero_bubble;
  for (int rank = 0; rank < ranks; ++rank) {
    order.ranks.push_back(schedule == S::gpipe
                              ? gpipe_rank(rank, microbatches)
                              : one_f_one_b_rank(rank, ranks, per_rank, microbatches, split));
  }
  return order;
}

}  // namespace tessera
