// Orders of ZB-V and DualPipeV.
#include "schedule/pipeline_v.h"

#include <algorithm>
#include <deque>

#include "core/error.h"

namespace tessera {
namespace {

using Kind = StageAction::Kind;

PipelineOrder v_shaped(int ranks) {
  PipelineOrder order;
  for (int rank = 0; rank < ranks; ++rank) order.rank_of_stage.push_back(rank);
  for (int rank = ranks - 1; rank >= 0; --rank) order.rank_of_stage.push_back(rank);
  order.ranks.resize(ranks);
  return order;
}

// The actions of one rank: `down` is its stage on the way down, `up` the one on the way back. Each kind of
// action takes the micro-batches of a stage in order.
class Rank {
 public:
  Rank(int rank, int ranks, int microbatches)
      : stages_{rank, 2 * ranks - 1 - rank}, microbatches_(microbatches) {}

  enum Side { down = 0, up = 1 };

  void forward(Side side) { add(Kind::forward, side, forwards_[side]++); }
  void backward(Side side) { add(Kind::backward, side, backwards_[side]++); }
  void input(Side side) {
    const int mb = backwards_[side]++;
    add(Kind::backward_input, side, mb);
    waiting_.push_back({side, mb});
  }
  // The weight gradients of the oldest input gradient, of one side or of any.
  void weight() {
    if (waiting_.empty()) return;
    add(Kind::backward_weight, waiting_.front().side, waiting_.front().microbatch);
    waiting_.pop_front();
  }
  void weight(Side side) {
    const auto found =
        std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& w) { return w.side == side; });
    if (found == waiting_.end()) return;
    add(Kind::backward_weight, side, found->microbatch);
    waiting_.erase(found);
  }
  void all_weights(Side side) {
    const auto more = [&] {
      return std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiting& w) { return w.side == side; });
    };
    while (more()) weight(side);
  }

  int forwards(Side side) const { return forwards_[side]; }
  std::vector<StageAction> take() { return std::move(actions_); }

 private:
  struct Waiting {
    Side side;
    int microbatch;
  };

  // Micro-batches past the last one exist on paper only: a short step follows the pattern of a longer one.
  void add(Kind kind, Side side, int microbatch) {
    if (microbatch < microbatches_) actions_.push_back({kind, stages_[side], microbatch});
  }

  int stages_[2];
  int microbatches_;
  int forwards_[2] = {0, 0};
  int backwards_[2] = {0, 0};
  std::deque<Waiting> waiting_;
  std::vector<StageAction> actions_;
};

// Qi et al., "Pipeline Parallelism with Controllable Memory" (2024): in the steady state every rank repeats
// F I W of the way down and F I W of the way back, and holds no more activations than 1F1B does.
std::vector<StageAction> zero_bubble_v_rank(int rank, int ranks, int microbatches) {
  const int count = std::max(2 * ranks - 1, microbatches);
  Rank r(rank, ranks, microbatches);
  for (int i = 0; i < 2 * (ranks - rank) - 1; ++i) r.forward(Rank::down);
  for (int i = 0; i < rank; ++i) {
    r.forward(Rank::up);
    r.forward(Rank::down);
  }
  for (int i = 0; i < ranks - rank; ++i) {
    r.forward(Rank::up);
    r.input(Rank::up);
    r.weight(Rank::up);
  }
  while (r.forwards(Rank::up) < r.forwards(Rank::down) || r.forwards(Rank::down) < count) {
    if (r.forwards(Rank::down) < count) r.forward(Rank::down);
    r.input(Rank::down);
    r.weight(Rank::down);
    r.forward(Rank::up);
    r.input(Rank::up);
    r.weight(Rank::up);
  }
  for (int i = 0; i < rank; ++i) {
    r.input(Rank::down);
    r.input(Rank::up);
  }
  for (int i = 0; i < ranks - rank; ++i) {
    r.input(Rank::down);
    r.weight(Rank::down);
  }
  r.all_weights(Rank::up);
  r.all_weights(Rank::down);
  return r.take();
}

// The eight phases of DualPipeV (DeepSeek-AI, 2025). Pairs that DualPipe computes at the same time, a forward
// and a backward, follow each other here.
std::vector<StageAction> dual_pipe_v_rank(int rank, int ranks, int microbatches) {
  const int behind = ranks - rank - 1;
  Rank r(rank, ranks, microbatches);
  for (int i = 0; i < 2 * behind; ++i) r.forward(Rank::down);
  for (int i = 0; i < rank + 1; ++i) {
    r.forward(Rank::down);
    r.forward(Rank::up);
  }
  for (int i = 0; i < behind; ++i) {
    r.input(Rank::up);
    r.weight();
    r.forward(Rank::up);
  }
  for (int i = 0; i < microbatches - 2 * ranks + rank + 1; ++i) {
    r.forward(Rank::down);
    r.backward(Rank::up);
    r.forward(Rank::up);
    r.backward(Rank::down);
  }
  for (int i = 0; i < behind; ++i) {
    r.backward(Rank::up);
    r.forward(Rank::up);
    r.backward(Rank::down);
  }
  // From the middle on, weight gradients are left for the drain; odd ranks begin with the way back.
  bool split = false;
  for (int i = 0; i < rank + 1; ++i) {
    const bool middle = i == (rank + 1) / 2;
    if (middle && rank % 2 == 1) split = true;
    split ? r.input(Rank::up) : r.backward(Rank::up);
    if (middle && rank % 2 == 0) split = true;
    split ? r.input(Rank::down) : r.backward(Rank::down);
  }
  for (int i = 0; i < behind; ++i) {
    r.weight();
    r.input(Rank::down);
  }
  for (int i = 0; i < rank + 1; ++i) r.weight();
  return r.take();
}

}  // namespace

PipelineOrder zero_bubble_v_order(int ranks, int microbatches) {
  PipelineOrder order = v_shaped(ranks);
  for (int rank = 0; rank < ranks; ++rank) order.ranks[rank] = zero_bubble_v_rank(rank, ranks, microbatches);
  return order;
}

PipelineOrder dual_pipe_v_order(int ranks, int microbatches) {
  TESSERA_CHECK(microbatches == 0 || microbatches >= 2 * ranks, argument, "dualpipe_v over pp=", ranks,
                " needs at least ", 2 * ranks, " micro-batches, not ", microbatches);
  PipelineOrder order = v_shaped(ranks);
  if (microbatches == 0) return order;
  for (int rank = 0; rank < ranks; ++rank) order.ranks[rank] = dual_pipe_v_rank(rank, ranks, microbatches);
  return order;
}

}  // namespace tessera
