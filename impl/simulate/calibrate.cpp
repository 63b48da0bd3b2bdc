// The measurements: each runs on all ranks from one barrier to the next.
#include "simulate/calibrate.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <functional>
#include <thread>

#include "comm/world.h"
#include "core/error.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "optim/optimizer.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr int kMeasures = 9;
constexpr int64_t kLarge = 768;  // sides of a product that is large, and of one that is not
constexpr int64_t kSmall = 96;

// What one rank measured, in seconds a call.
struct Measured {
  double large = 0, small = 0;  // the three products of a linear layer
  double attention = 0, attention_backward = 0;
  double passes = 0, update = 0, tiny = 0;
  double reduce = 0, meet = 0;
};

class Bench {
 public:
  Bench(World& world, const CalibrationOptions& options)
      : world_(world),
        group_(world.everyone()),
        dtype_(options.wide ? at::kFloat : at::kBFloat16),
        slice_(options.seconds / (kMeasures * (kRounds + 1))) {}

  Measured run() {
    Measured m;
    m.large = products(kLarge);
    m.small = products(kSmall);
    attention(m);
    m.passes = passes();
    m.update = update();
    m.tiny = tiny();
    reduce(m);
    return m;
  }

  static constexpr int64_t kTokens = 512, kHeads = 8, kWidth = 64;
  static constexpr int64_t kRows = 512, kColumns = 1536;
  static constexpr int64_t kShard = int64_t{1} << 21;
  static constexpr int64_t kReduced = int64_t{1} << 20;
  // Bytes an element that passes() and update() move.
  static double pass_elements() {
    return 3.0 * kRows * kColumns + 5.0 * kRows * kColumns + 6.0 * kRows * kColumns;
  }

 private:
  at::Tensor random(at::IntArrayRef shape) const { return at::rand(shape, at::dtype(dtype_)).sub_(0.5); }

  // The median over rounds of the time of one call, all ranks working; a first round warms up.
  double time(const std::function<void()>& call) {
    std::vector<double> rounds;
    for (int round = 0; round <= kRounds; ++round) {
      group_->barrier();
      const auto start = Clock::now();
      int calls = 0;
      double passed = 0;
      do {
        call();
        ++calls;
        passed = std::chrono::duration<double>(Clock::now() - start).count();
      } while (passed < slice_);
      if (round > 0) rounds.push_back(passed / calls);
    }
    std::sort(rounds.begin(), rounds.end());
    return rounds[rounds.size() / 2];
  }

  double products(int64_t side) {
    const at::Tensor x = random({side, side});
    const at::Tensor w = random({side, side});
    const at::Tensor dy = random({side, side});
    const at::Tensor dw = at::empty({side, side}, at::dtype(dtype_));
    return time([&] {
      kernels::linear(x, w);
      kernels::linear_grad_input(dy, w);
      kernels::linear_grad_weight(x, dy, dw, false);
    });
  }

  void attention(Measured& m) {
    const at::Tensor q = random({kTokens, kHeads, kWidth});
    const at::Tensor k = random({kTokens, kHeads, kWidth});
    const at::Tensor v = random({kTokens, kHeads, kWidth});
    const std::vector<kernels::AttentionSpan> spans = {{0, kTokens, 0, kTokens, 0}};
    m.attention = time([&] { kernels::attention(q, k, v, spans); });
    const kernels::AttentionResult result = kernels::attention(q, k, v, spans);
    m.attention_backward =
        time([&] { kernels::attention_backward(q, q, k, v, result.out, result.lse, spans); });
  }

  double passes() {
    const at::Tensor a = random({kRows, kColumns});
    const at::Tensor b = random({kRows, kColumns});
    const at::Tensor weight = at::ones({kColumns}, at::dtype(dtype_));
    return time([&] {
      const at::Tensor y = kernels::swiglu(a, b);                           // 3 an element
      kernels::swiglu_backward(y, a, b, false);                             // 5
      const kernels::RmsNormResult n = kernels::rms_norm(a, weight, 1e-6);  // 2
      kernels::rms_norm_backward(y, a, weight, n.rstd, b);                  // 4
    });
  }

  double update() {
    std::vector<ParamShard> shards(1);
    shards[0].name = "weights";
    shards[0].master = at::rand({kShard});
    shards[0].grad = at::rand({kShard});
    if (dtype_ != at::kFloat) shards[0].compute = at::empty({kShard}, at::dtype(dtype_));
    const std::unique_ptr<Optimizer> adamw = make_optimizer({});
    int64_t step = 0;
    return time([&] { adamw->step(shards, 1e-4, 1, ++step); });
  }

  double tiny() {
    const at::Tensor a = random({1, 16});
    const at::Tensor b = random({1, 16});
    return time([&] { kernels::swiglu(a, b); });
  }

  // Collectives are called equally often by all ranks.
  void reduce(Measured& m) {
    const at::Tensor data = at::ones({kReduced});
    const at::Tensor word = at::ones({1});
    const auto repeat = [&](const at::Tensor& tensor, int calls) {
      std::vector<double> rounds;
      for (int round = 0; round <= kRounds; ++round) {
        group_->barrier();
        const auto start = Clock::now();
        for (int i = 0; i < calls; ++i) group_->all_reduce({tensor}, ReduceOp::max)->wait();
        rounds.push_back(std::chrono::duration<double>(Clock::now() - start).count() / calls);
      }
      std::sort(rounds.begin(), rounds.end());
      return rounds[rounds.size() / 2];
    };
    if (group_->size() == 1) return;
    m.meet = repeat(word, 20);
    m.reduce = repeat(data, 4);
  }

  World& world_;
  GroupPtr group_;
  at::ScalarType dtype_;
  double slice_;
};

std::vector<Measured> measure(const CalibrationOptions& options) {
  WorldOptions defaults;
  defaults.intra_op_threads = options.threads;
  defaults.allocator = options.allocator;
  const std::vector<WorldPtr> worlds = World::threads(options.ranks, defaults);
  std::vector<Measured> measured(options.ranks);
  std::vector<std::exception_ptr> errors(options.ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < options.ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        worlds[rank]->bind_thread();
        measured[rank] = Bench(*worlds[rank], options).run();
        worlds[rank]->close();
      } catch (const std::exception& error) {
        errors[rank] = std::current_exception();
        worlds[rank]->abort(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return measured;
}

// A step waits for its slowest rank, but which one that is changes: the mean over ranks.
double mean(const std::vector<Measured>& measured, double Measured::* what) {
  double sum = 0;
  for (const Measured& m : measured) sum += m.*what;
  return sum / static_cast<double>(measured.size());
}

}  // namespace

Cluster calibrate(const CalibrationOptions& options) {
  TESSERA_CHECK(options.ranks >= 1 && options.ranks <= 4096, argument, "ranks=", options.ranks,
                " is not within 1..4096");
  TESSERA_CHECK(options.seconds > 0 && options.seconds <= 600, argument, "seconds=", options.seconds,
                " is not within 0..600");
  const std::vector<Measured> measured = measure(options);
  Cluster c = find_cluster("cpu-local");
  c.name = "here";
  c.source = cat("measured on this machine with ", options.ranks, " rank threads");

  // Two sizes give the two numbers of the curve share * product of d / (d + half).
  const auto rate = [&](int64_t side, double Measured::* what) {
    return 3 * 2 * std::pow(static_cast<double>(side), 3) / mean(measured, what);
  };
  const double large = rate(kLarge, &Measured::large);
  const double ratio = std::cbrt(std::min(1.0, rate(kSmall, &Measured::small) / large));
  const double half = kSmall * kLarge * (1 - ratio) / std::max(1.0, ratio * kLarge - kSmall);
  c.gemm_half = std::clamp(half, 0.0, 1e4);
  const double peak = large * std::pow((kLarge + c.gemm_half) / kLarge, 3);
  c.gemm_share = 1;
  c.bf16_flops = c.fp32_flops = peak;

  const double flops = 4.0 * Bench::kTokens * (Bench::kTokens + 1) / 2 * Bench::kHeads * Bench::kWidth;
  const auto share = [&](double seconds, double operations) {
    return std::clamp(operations / seconds / peak, 1e-4, 1.0);
  };
  c.attention_share = share(mean(measured, &Measured::attention), flops);
  c.attention_backward_share = share(mean(measured, &Measured::attention_backward), 2.5 * flops);
  c.launch_seconds = mean(measured, &Measured::tiny);

  const double element = options.wide ? 4 : 2;
  const double update_bytes = Bench::kShard * (28.0 + (options.wide ? 0 : 2));
  c.memory_bandwidth = update_bytes / mean(measured, &Measured::update);
  c.update_share = 1;
  c.memory_share = std::clamp(
      Bench::pass_elements() * element / mean(measured, &Measured::passes) / c.memory_bandwidth, 1e-3, 100.0);

  if (options.ranks > 1) {
    const double ranks = options.ranks;
    const double meet = mean(measured, &Measured::meet);
    const double moved = 2 * 4.0 * Bench::kReduced * (ranks - 1) / ranks;
    c.intra_latency = meet / (ranks - 1);
    c.intra_bandwidth = moved / std::max(1e-9, mean(measured, &Measured::reduce) - meet);
    c.inter_bandwidth = std::min(c.inter_bandwidth, c.intra_bandwidth);
  }
  c.memory_bytes = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                   static_cast<double>(::sysconf(_SC_PAGE_SIZE)) / options.ranks;
  check_cluster(c);
  return c;
}

}  // namespace tessera
