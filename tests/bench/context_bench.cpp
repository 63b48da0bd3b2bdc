// Times the exchanges of context parallelism alone, forward and backward of one attention over 4 ranks, as
// threads or over Gloo; prints one "case exchange forward_seconds backward_seconds" a line.
//   context_bench threads [CASE [EXCHANGE]]
//   context_bench gloo RANK RENDEZVOUS [CASE [EXCHANGE]]     (one of four)
// CASE and EXCHANGE are parts of names; absent, all are timed.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "context/context_parallel.h"
#include "core/error.h"
#include "data/batch_builder.h"

namespace {

using namespace tessera;  // NOLINT: a program, not a header
using Clock = std::chrono::steady_clock;

constexpr int kRanks = 4;
constexpr int kRounds = 5;

struct Case {
  const char* name;
  std::vector<int> documents;
  int64_t heads, kv_heads, d, window;
  at::ScalarType dtype;
};

const std::vector<int> kPack = {3000, 40, 1500, 12, 700, 2000, 900, 40};  // 8192 tokens

const std::vector<Case> kCases = {
    {"one_8192_fp32", {8192}, 8, 8, 64, 0, at::kFloat},
    {"one_8192_bf16", {8192}, 8, 8, 64, 0, at::kBFloat16},
    {"one_1024_bf16", {1024}, 8, 8, 64, 0, at::kBFloat16},
    {"pack_8192_gqa_bf16", kPack, 8, 2, 64, 0, at::kBFloat16},
    {"pack_8192_window_512_bf16", kPack, 8, 2, 64, 512, at::kBFloat16},
};

PackedBatch batch_of(const std::vector<int>& lengths) {
  BatchBuilder builder{BatchLayout{}};
  for (const int length : lengths) {
    const std::vector<int32_t> tokens(static_cast<size_t>(length), 1);
    builder.add(tokens, tokens);
  }
  return builder.finish();
}

at::Tensor random(int64_t tokens, int64_t heads, const Case& c, uint64_t seed) {
  return at::randn({tokens, heads, c.d}, at::detail::createCPUGenerator(seed), at::dtype(at::kFloat))
      .to(c.dtype);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// From the moment all are there to the moment all are done.
template <class Call>
double timed(Group& group, const Call& call) {
  group.barrier();
  const Clock::time_point begin = Clock::now();
  call();
  group.barrier();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string name_of(const ContextOptions& options) {
  std::string name = cat(context_exchange_name(options.exchange), "/", context_layout_name(options.layout));
  if (options.heads_k_stride > 0) name += cat("/stride_", options.heads_k_stride);
  return name;
}

void measure(const WorldPtr& world, const Case& c, const ContextOptions& options, const DeviceMesh& mesh) {
  const ContextParallel context(mesh, options);
  const ContextBatch part = context.shard(batch_of(c.documents));
  const int64_t tokens = part.layout.local_tokens;
  const uint64_t seed = 10 * static_cast<uint64_t>(world->rank());
  const at::Tensor q = random(tokens, c.heads, c, seed), dout = random(tokens, c.heads, c, seed + 1);
  const at::Tensor k = random(tokens, c.kv_heads, c, seed + 2), v = random(tokens, c.kv_heads, c, seed + 3);
  Group& group = *context.group();
  std::vector<double> forward, backward;
  for (int round = 0; round <= kRounds; ++round) {
    Attended attended;
    const double f = timed(group, [&] { attended = part.plan->attend(q, k, v, {0, c.window}); });
    const double b = timed(group, [&] { part.plan->attend_backward(dout, attended.kept, {0, c.window}); });
    if (round == 0) continue;  // warms up
    forward.push_back(f);
    backward.push_back(b);
  }
  if (world->rank() != 0) return;
  std::printf("%s %s %.6f %.6f\n", c.name, name_of(options).c_str(), median(forward), median(backward));
  std::fflush(stdout);
}

/// Parts of the names of what is timed.
struct Wanted {
  std::string name, exchange;
};

void run(const WorldPtr& world, const Wanted& wanted) {
  using E = ContextExchange;
  using L = ContextLayoutKind;
  world->bind_thread();
  const DeviceMesh mesh(world, {.dp_shard = 1, .cp = kRanks});
  for (const Case& c : kCases) {
    for (const ContextOptions& options : {ContextOptions{E::ring, L::zigzag, 0, 0},
                                          {E::ring, L::document, 0, 0},
                                          {E::all_gather, L::zigzag, 0, 0},
                                          {E::all_gather, L::zigzag, 0, 1},
                                          {E::all_gather, L::row, 0, 0},
                                          {E::ulysses, L::row, 0, 0},
                                          {E::ulysses_ring, L::zigzag, 2, 0},
                                          {E::ulysses_all_gather, L::zigzag, 2, 0}}) {
      if (std::string(c.name).find(wanted.name) == std::string::npos) continue;
      if (name_of(options).find(wanted.exchange) == std::string::npos) continue;
      measure(world, c, options, mesh);
    }
  }
  world->close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const auto word = [&](int i) { return std::string(argc > i ? argv[i] : ""); };
  if (mode == "threads") {
    WorldOptions options;
    options.intra_op_threads = 1;
    const std::vector<WorldPtr> worlds = World::threads(kRanks, options);
    std::vector<std::thread> threads;
    for (const WorldPtr& world : worlds) threads.emplace_back([&] { run(world, {word(2), word(3)}); });
    for (std::thread& thread : threads) thread.join();
    return 0;
  }
  if (mode == "gloo" && argc >= 4) {
    const int rank = std::atoi(argv[2]);
    run(World::connect({.rank = rank,
                        .size = kRanks,
                        .local_rank = rank,
                        .local_size = kRanks,
                        .backend = "gloo",
                        .rendezvous = argv[3],
                        .intra_op_threads = 1}),
        {word(4), word(5)});
    return 0;
  }
  std::fprintf(stderr, "usage: context_bench (threads | gloo RANK RENDEZVOUS) [CASE [EXCHANGE]]\n");
  return 2;
}
