// The compiler for pipeline stages: turns orders of stage actions into programs of units with transfers and
// storage around them.
#include <algorithm>
#include <set>
#include <tuple>

#include "core/error.h"
#include "schedule/compile.h"

namespace tessera {
namespace {

using Kind = StageAction::Kind;

// What exists after an action: an output (forward) or an input gradient of a stage for a micro-batch.
using Product = std::tuple<bool, int, int>;  // forward?, stage, micro-batch

// Runs all ranks' orders against each other, an action of each rank at a time, and writes down computation
// and transfers. A send goes out right after the action that made it, and its receive is posted by the peer
// at that moment, which is what keeps the two in one order.
class PipelineLowering {
 public:
  PipelineLowering(const StepOptions& options, const PipelineOrder& order, const std::vector<int>& starts,
                   Op head)
      : options_(options), order_(order), starts_(starts), head_(head), compute_(order.ranks.size()) {}

  std::vector<std::vector<Instruction>> run() {
    std::vector<size_t> next(order_.ranks.size(), 0);
    for (bool moved = true; moved;) {
      moved = false;
      // Who can run is decided before anybody does: ranks work side by side.
      std::vector<size_t> ready;
      for (size_t rank = 0; rank < next.size(); ++rank) {
        const auto& actions = order_.ranks[rank];
        if (next[rank] < actions.size() && can_run(actions[next[rank]])) ready.push_back(rank);
      }
      for (const size_t rank : ready) {
        lower(static_cast<int>(rank), order_.ranks[rank][next[rank]++]);
        moved = true;
      }
    }
    for (size_t rank = 0; rank < next.size(); ++rank) {
      if (next[rank] == order_.ranks[rank].size()) continue;
      const StageAction& stuck = order_.ranks[rank][next[rank]];
      throw Error(Code::argument, cat("the pipeline program deadlocks: rank ", rank, " waits before stage ",
                                      stuck.stage, ", micro-batch ", stuck.microbatch));
    }
    return std::move(compute_);
  }

 private:
  int last_stage() const { return order_.stages() - 1; }
  int first_unit(int stage) const { return starts_[stage]; }
  int end_unit(int stage) const {
    return stage == last_stage() ? static_cast<int>(options_.units.size()) : starts_[stage + 1];
  }
  int head_unit() const { return static_cast<int>(options_.units.size()) - 1; }

  bool can_run(const StageAction& action) const {
    const int stage = action.stage;
    const int mb = action.microbatch;
    switch (action.kind) {
      case Kind::forward:
        return stage == 0 || made_.count({true, stage - 1, mb}) != 0;
      case Kind::backward:
      case Kind::backward_input:
        return stage == last_stage() ? made_.count({true, stage, mb}) != 0
                                     : made_.count({false, stage + 1, mb}) != 0;
      case Kind::backward_weight:
        return true;
    }
    return false;
  }

  void lower(int rank, const StageAction& action) {
    switch (action.kind) {
      case Kind::forward:
        forward(rank, action.stage, action.microbatch);
        return;
      case Kind::backward:
        backward(rank, action, Op::backward);
        return;
      case Kind::backward_input:
        backward(rank, action, Op::backward_input);
        return;
      case Kind::backward_weight:
        for (int unit = last_layer(action.stage); unit >= first_unit(action.stage); --unit) {
          compute_[rank].push_back({Op::backward_weight, unit, action.microbatch});
        }
        return;
    }
  }

  // The last unit of a stage that has a backward of its own: the head's is part of its loss.
  int last_layer(int stage) const {
    const int last = end_unit(stage) - 1;
    return last == head_unit() ? last - 1 : last;
  }

  void forward(int rank, int stage, int mb) {
    for (int unit = first_unit(stage); unit < end_unit(stage); ++unit) {
      compute_[rank].push_back({unit == head_unit() ? head_ : Op::forward, unit, mb});
    }
    made_.insert({true, stage, mb});
    if (stage == last_stage()) return;
    transfer(rank, order_.rank_of_stage[stage + 1], {Op::send_forward, end_unit(stage) - 1, mb},
             {Op::recv_forward, end_unit(stage), mb});
  }

  void backward(int rank, const StageAction& action, Op op) {
    const int stage = action.stage;
    const int mb = action.microbatch;
    for (int unit = last_layer(stage); unit >= first_unit(stage); --unit) {
      if (options_.recompute) compute_[rank].push_back({Op::recompute, unit, mb});
      compute_[rank].push_back({op, unit, mb});
    }
    made_.insert({false, stage, mb});
    if (stage == 0) return;
    transfer(rank, order_.rank_of_stage[stage - 1], {Op::send_backward, first_unit(stage), mb},
             {Op::recv_backward, first_unit(stage) - 1, mb});
  }

  void transfer(int source, int destination, Instruction send, Instruction receive) {
    if (source == destination) return;
    send.peer = destination;
    receive.peer = source;
    compute_[source].push_back(send);
    compute_[destination].push_back(receive);
  }

  const StepOptions& options_;
  const PipelineOrder& order_;
  const std::vector<int>& starts_;
  Op head_;
  std::vector<std::vector<Instruction>> compute_;
  std::set<Product> made_;
};

void check_stages(const StepOptions& options, int stages, const std::vector<int>& starts) {
  validate(options.units);
  TESSERA_CHECK(static_cast<int>(starts.size()) == stages && stages >= 1, internal, starts.size(),
                " stage starts for ", stages, " stages");
  for (int stage = 0; stage < stages; ++stage) {
    const int end = stage + 1 < stages ? starts[stage + 1] : static_cast<int>(options.units.size());
    TESSERA_CHECK(starts[0] == 0 && starts[stage] < end, internal, "stage ", stage, " has no units");
  }
}

std::vector<Program> finish(const StepOptions& options, std::vector<std::vector<Instruction>> compute,
                            const StoragePolicy& storage) {
  std::vector<Program> programs;
  for (const std::vector<Instruction>& instructions : compute) {
    Program program;
    program.units = static_cast<int>(options.units.size());
    program.microbatches = options.microbatches;
    program.instructions = place_communication(instructions, options.units, storage);
    programs.push_back(std::move(program));
  }
  return programs;
}

}  // namespace

std::vector<Program> compile_pipeline(const StepOptions& options, const PipelineOrder& order,
                                      const std::vector<int>& stage_starts) {
  check_stages(options, order.stages(), stage_starts);
  validate(order, static_cast<int>(order.ranks.size()), options.microbatches);
  std::vector<Program> programs =
      finish(options, PipelineLowering(options, order, stage_starts, Op::loss).run(), options.storage);
  for (Program& program : programs) {
    if (!options.update) continue;
    program.instructions.push_back({Op::grad_norm});
    program.instructions.push_back({Op::optimizer});
  }
  return programs;
}

std::vector<Program> compile_pipeline_forward(const StepOptions& options, Op head, bool keep,
                                              const std::vector<int>& rank_of_stage,
                                              const std::vector<int>& stage_starts) {
  TESSERA_CHECK(head == Op::evaluate || head == Op::logits, argument, "head=", op_name(head),
                " is neither evaluate nor logits");
  check_stages(options, static_cast<int>(rank_of_stage.size()), stage_starts);
  PipelineOrder order;
  order.rank_of_stage = rank_of_stage;
  int ranks = 0;
  for (const int rank : rank_of_stage) ranks = std::max(ranks, rank + 1);
  order.ranks.resize(ranks);
  for (int mb = 0; mb < options.microbatches; ++mb) {
    for (int stage = 0; stage < order.stages(); ++stage) {
      order.ranks[rank_of_stage[stage]].push_back({Kind::forward, stage, mb});
    }
  }
  StoragePolicy storage = options.storage;
  if (keep) storage.reshard.kind = ReshardPolicy::Kind::never;
  std::vector<Program> programs =
      finish(options, PipelineLowering(options, order, stage_starts, head).run(), storage);
  for (Program& program : programs) {
    if (keep) std::erase_if(program.instructions, [](const Instruction& i) { return i.op == Op::release; });
  }
  return programs;
}

}  // namespace tessera
