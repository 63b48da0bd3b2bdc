// One mixture-of-experts layer, forward and backward, and the way of tokens to experts and back over ranks.
// Run by moe_bench.py beside its peers.
//   moe_bench layer <tokens> <hidden> <intermediate> <experts> <top_k> <fp32|bf16> <threads> <rounds>
//   moe_bench dispatch <all_to_all|all_gather> <tokens of a rank> <hidden> <experts> <top_k> <ranks> <rounds>
// Prints a JSON line: the seconds of each round.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "comm/world.h"
#include "data/batch_builder.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "nn/moe.h"

namespace {

using namespace tessera;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void print(const std::vector<double>& seconds) {
  std::printf("{\"seconds\": [");
  for (size_t i = 0; i < seconds.size(); ++i) std::printf("%s%.6g", i == 0 ? "" : ", ", seconds[i]);
  std::printf("]}\n");
}

// Gradients in float32, each written once a round, as a trainer has them.
class PlainGrads final : public WeightGrads {
 public:
  explicit PlainGrads(const std::vector<at::Tensor>& weights) {
    for (const at::Tensor& weight : weights)
      grads_.push_back(at::empty(weight.sizes(), at::dtype(at::kFloat)));
  }
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override {
    kernels::linear_grad_weight(x, dy, grads_[weight], false);
  }
  void add(int weight, const at::Tensor& grad) override { kernels::cast_copy(grads_[weight], grad); }
  void add_rows(int, const at::Tensor&, const at::Tensor&) override {}

 private:
  std::vector<at::Tensor> grads_;
};

// Weights one behind the other in one block, as a trainer's storage has them.
std::vector<at::Tensor> flat_weights(const std::vector<ParamSpec>& params, at::ScalarType dtype) {
  int64_t elements = 0;
  for (const ParamSpec& spec : params) elements += checked_numel(spec.shape);
  const at::Tensor block = at::randn({elements}, at::dtype(at::kFloat)).mul_(0.02).to(dtype);
  std::vector<at::Tensor> weights;
  int64_t first = 0;
  for (const ParamSpec& spec : params) {
    const int64_t numel = checked_numel(spec.shape);
    weights.push_back(block.narrow(0, first, numel).view(spec.shape));
    first += numel;
  }
  return weights;
}

PackedBatch batch_of(int64_t tokens) {
  BatchBuilder builder{BatchLayout{}};
  const std::vector<int32_t> ids(tokens, 1);
  builder.add(ids, ids);
  return builder.finish();
}

void layer(int64_t tokens, int64_t hidden, int64_t intermediate, int64_t experts, int64_t top_k,
           at::ScalarType dtype, int threads, int rounds) {
  at::set_num_threads(threads);
  MoeSpec spec;
  spec.router.hidden = spec.experts.hidden = hidden;
  spec.router.experts = spec.experts.placement.experts = experts;
  spec.router.options.top_k = top_k;
  spec.router.options.normalize = true;
  spec.experts.intermediate = intermediate;
  std::vector<ParamSpec> params;
  Moe moe("moe", spec, {}, params);
  const std::vector<at::Tensor> weights = flat_weights(params, dtype);
  moe.bind(weights);
  PlainGrads grads(weights);
  const PackedBatch batch = batch_of(tokens);
  Microbatch mb;
  mb.batch = &batch;
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    // Other tokens each time, so that experts have other numbers of rows, as in training.
    const at::Tensor x = at::randn({tokens, hidden}, at::dtype(at::kFloat)).to(dtype);
    const at::Tensor dy = at::randn({tokens, hidden}, at::dtype(at::kFloat)).to(dtype);
    const Clock::time_point start = Clock::now();
    Saved saved;
    moe.forward(weights, x, mb, saved, Recompute::none);
    moe.backward(weights, dy, x, mb, saved, grads);
    seconds.push_back(seconds_since(start));
  }
  print(seconds);
}

void dispatch(const char* exchange, int64_t tokens, int64_t hidden, int64_t experts, int64_t top_k, int ranks,
              int rounds) {
  WorldOptions options;
  options.intra_op_threads = 1;
  const std::vector<WorldPtr> worlds = World::threads(ranks, options);
  std::vector<double> seconds;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      worlds[r]->bind_thread();
      std::vector<int> all;
      for (int other = 0; other < ranks; ++other) all.push_back(other);
      const GroupPtr group = worlds[r]->group("ep", all);
      const ExpertDispatchPtr way =
          make_expert_dispatch(group, {experts, ranks, r}, parse_expert_exchange(exchange));
      const at::Tensor x = at::randn({tokens, hidden}, at::dtype(at::kFloat)).to(at::kBFloat16);
      const at::Tensor weights = at::randn({tokens, top_k}, at::dtype(at::kFloat));
      for (int round = 0; round < rounds; ++round) {
        const at::Tensor chosen = at::randint(experts, {tokens, top_k}, at::dtype(at::kLong));
        group->barrier();
        const Clock::time_point start = Clock::now();
        at::Tensor counts;
        const ExpertRoute route = way->plan(chosen, counts);
        const at::Tensor rows = way->dispatch(route, x);
        way->collect(route, rows, weights);
        group->barrier();
        if (r == 0) seconds.push_back(seconds_since(start));
      }
      worlds[r]->close();
    });
  }
  for (std::thread& thread : threads) thread.join();
  print(seconds);
}

int64_t number(const char* text) {
  return std::strtoll(text, nullptr, 10);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "layer" && argc == 10) {
    layer(number(argv[2]), number(argv[3]), number(argv[4]), number(argv[5]), number(argv[6]),
          std::strcmp(argv[7], "bf16") == 0 ? at::kBFloat16 : at::kFloat, static_cast<int>(number(argv[8])),
          static_cast<int>(number(argv[9])));
    return 0;
  }
  if (mode == "dispatch" && argc == 9) {
    dispatch(argv[2], number(argv[3]), number(argv[4]), number(argv[5]), number(argv[6]),
             static_cast<int>(number(argv[7])), static_cast<int>(number(argv[8])));
    return 0;
  }
  std::fprintf(
      stderr,
      "moe_bench layer <tokens> <hidden> <intermediate> <experts> <top_k> <fp32|bf16> <threads> <rounds>\n"
      "moe_bench dispatch <all_to_all|all_gather> <tokens> <hidden> <experts> <top_k> <ranks> <rounds>\n");
  return 2;
}
