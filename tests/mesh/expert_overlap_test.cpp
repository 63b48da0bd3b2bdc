// The shared expert computes while tokens travel to the others, and no bit depends on it.
#include <gtest/gtest.h>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/record_function.h>

#include <cmath>
#include <map>

#include "comm/group.h"
#include "data/batch_builder.h"
#include "kernels/linear.h"
#include "nn/moe.h"
#include "support/rank_threads.h"

namespace tessera::testing {
namespace {

constexpr int64_t kTokens = 19, kHidden = 16;

/// LibTorch operators of this thread so far.
thread_local int64_t operators = 0;

/// A group whose all-to-alls of rows are over before the call that starts them returns, or which counts the
/// operators that run between start and wait.
class WatchedGroup final : public Group {
 public:
  WatchedGroup(GroupPtr inner, bool at_once)
      : Group(inner->name(), inner->rank(), inner->world_ranks()),
        inner_(std::move(inner)),
        at_once_(at_once) {}

  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in, const std::vector<int64_t>& out_splits,
                     const std::vector<int64_t>& in_splits) override {
    WorkPtr work = inner_->all_to_all(out, in, out_splits, in_splits);
    if (in.dim() != 2) return work;
    if (at_once_) {
      work->wait();
      return std::make_shared<Done>();
    }
    return std::make_shared<Counted>(std::move(work), hidden);
  }
  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override {
    return inner_->all_gather(outs, ins);
  }
  WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                         ReduceOp op) override {
    return inner_->reduce_scatter(outs, ins, op);
  }
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override {
    return inner_->all_reduce(tensors, op);
  }
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override {
    return inner_->broadcast(tensors, root);
  }
  WorkPtr send(const at::Tensor& tensor, int destination, int tag) override {
    return inner_->send(tensor, destination, tag);
  }
  WorkPtr recv(const at::Tensor& tensor, int source, int tag) override {
    return inner_->recv(tensor, source, tag);
  }
  void barrier() override { inner_->barrier(); }

  std::vector<int64_t> hidden;  ///< operators between start and wait, of each exchange of rows

 private:
  struct Done final : Work {
    void wait() override {}
  };
  struct Counted final : Work {
    Counted(WorkPtr work, std::vector<int64_t>& log)
        : inner(std::move(work)), hidden(log), before(operators) {}
    void wait() override {
      hidden.push_back(operators - before);
      inner->wait();
    }
    WorkPtr inner;
    std::vector<int64_t>& hidden;
    int64_t before;
  };
  GroupPtr inner_;
  bool at_once_;
};

class Grads final : public WeightGrads {
 public:
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override {
    got[weight] = at::empty({dy.size(1), x.size(1)}, x.options());
    kernels::linear_grad_weight(x, dy, got[weight], false);
  }
  void add(int weight, const at::Tensor& grad) override { got[weight] = grad; }
  void add_rows(int, const at::Tensor&, const at::Tensor&) override { ADD_FAILURE(); }
  std::map<int, at::Tensor> got;
};

struct Outcome {
  at::Tensor y, dx;
  std::map<int, at::Tensor> grads;
  std::vector<int64_t> hidden;
};

at::Tensor values(at::IntArrayRef shape, int64_t seed) {
  at::Tensor out = at::empty(shape, at::dtype(at::kFloat));
  float* data = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) data[i] = std::sin(static_cast<float>(i * 7 + seed * 131)) * 0.4F;
  return out;
}

std::vector<Outcome> run(bool shared, bool at_once) {
  std::vector<Outcome> outcomes(2);
  run_ranks(2, [&](const WorldPtr& world) {
    const auto group = std::make_shared<WatchedGroup>(world->group("ep", {0, 1}), at_once);
    MoeSpec spec;
    spec.router.hidden = spec.experts.hidden = kHidden;
    spec.router.experts = spec.experts.placement.experts = 4;
    spec.router.options.top_k = 2;
    spec.experts.intermediate = 12;
    ParallelContext parallel;
    parallel.experts.size = 2;
    parallel.experts.group = group;
    if (shared) spec.shared = MlpSpec{kHidden, 20, false, 0.02, TensorRegion(parallel, false)};
    std::vector<ParamSpec> params;
    Moe moe("moe", spec, parallel, params);
    std::vector<at::Tensor> weights;
    for (const ParamSpec& param : params) {
      const bool here = param.ep_index < 0 || param.ep_index == world->rank();
      weights.push_back(here ? values(param.shape, static_cast<int64_t>(weights.size())) : at::Tensor());
    }
    moe.bind(weights);
    BatchBuilder builder{BatchLayout{}};
    const std::vector<int32_t> ids(kTokens, 1);
    builder.add(ids, ids);
    const PackedBatch batch = builder.finish();
    Microbatch mb;
    mb.batch = &batch;
    const at::Tensor x = values({kTokens, kHidden}, 1000 + world->rank());
    const at::Tensor dy = values({kTokens, kHidden}, 2000 + world->rank());
    Saved saved;
    Grads grads;
    const auto counter = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction&) -> std::unique_ptr<at::ObserverContext> {
          ++operators;
          return nullptr;
        }).scopes({at::RecordScope::FUNCTION}));
    Outcome& outcome = outcomes[world->rank()];
    outcome.y = moe.forward(weights, x, mb, saved, Recompute::none);
    outcome.dx = moe.backward(weights, dy, x, mb, saved, grads);
    at::removeCallback(counter);
    outcome.grads = grads.got;
    outcome.hidden = group->hidden;
  });
  return outcomes;
}

TEST(ExpertOverlap, TheSharedExpertComputesWhileTokensTravel) {
  // Rows go out and come back, forward and backward: the first and the third exchange are hidden.
  for (const Outcome& alone : run(false, false)) {
    ASSERT_EQ(alone.hidden.size(), 4u);
    EXPECT_EQ(alone.hidden[0], 0);
  }
  for (const Outcome& outcome : run(true, false)) {
    ASSERT_EQ(outcome.hidden.size(), 4u);
    EXPECT_GT(outcome.hidden[0], 3);
    EXPECT_GT(outcome.hidden[2], 3);
  }
}

TEST(ExpertOverlap, ChangesNoBit) {
  const std::vector<Outcome> waiting = run(true, true);
  const std::vector<Outcome> overlapping = run(true, false);
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(at::equal(waiting[rank].y, overlapping[rank].y));
    EXPECT_TRUE(at::equal(waiting[rank].dx, overlapping[rank].dx));
    ASSERT_EQ(waiting[rank].grads.size(), overlapping[rank].grads.size());
    for (const auto& [weight, grad] : waiting[rank].grads) {
      EXPECT_TRUE(at::equal(grad, overlapping[rank].grads.at(weight))) << weight;
    }
  }
}

}  // namespace
}  // namespace tessera::testing
