// Times collectives of the local engine over 4 ranks, as threads and as processes; prints one "name seconds"
// a line.
//   comm_bench threads
//   comm_bench process RANK RENDEZVOUS     (one of four)
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "comm/world.h"

namespace {

using tessera::Group;
using tessera::ReduceOp;
using tessera::World;
using tessera::WorldPtr;

constexpr int kRanks = 4;

/// Median seconds of one call, over 7 rounds of `repeats`.
template <class Call>
double median_seconds(Group& group, int repeats, const Call& call) {
  std::vector<double> rounds;
  for (int round = 0; round < 8; ++round) {
    group.barrier();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) call();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (round > 0) rounds.push_back(seconds / repeats);  // the first warms up
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

void report(const Group& group, const char* name, double seconds) {
  if (group.rank() == 0) std::printf("%s %.9f\n", name, seconds);
}

void measure(const WorldPtr& world) {
  world->bind_thread();
  Group& group = *world->everyone();
  report(group, "barrier", median_seconds(group, 2000, [&] { group.barrier(); }));
  const at::Tensor four = at::empty({1}, at::kFloat).fill_(1);
  report(group, "all_reduce_4B",
         median_seconds(group, 500, [&] { group.all_reduce({four}, ReduceOp::max)->wait(); }));
  for (const int64_t megabytes : {1, 16}) {
    const int64_t elements = megabytes << 18;  // float32
    // Inputs lie in memory that all ranks see, as the gradients and weights of a trainer do.
    const at::Tensor in = group.allocate_symmetric(elements * 4).blocks[group.rank()].view(at::kFloat);
    const at::Tensor out = at::empty({elements}, at::kFloat);
    in.fill_(1);
    out.fill_(0);
    const at::Tensor shard = out.narrow(0, 0, elements / kRanks);
    const int repeats = megabytes == 1 ? 200 : 20;
    const std::string size = std::to_string(megabytes) + "MB";
    report(group, ("all_gather_" + size).c_str(), median_seconds(group, repeats, [&] {
             group.all_gather({out}, {in.narrow(0, 0, elements / kRanks)})->wait();
           }));
    report(group, ("reduce_scatter_" + size).c_str(), median_seconds(group, repeats, [&] {
             group.reduce_scatter({shard}, {in}, ReduceOp::sum)->wait();
           }));
  }
  world->close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "threads") {
    std::vector<std::thread> threads;
    for (const WorldPtr& world : World::threads(kRanks, {.intra_op_threads = 1})) {
      threads.emplace_back([world] { measure(world); });
    }
    for (std::thread& thread : threads) thread.join();
    return 0;
  }
  if (mode == "process" && argc == 4) {
    const int rank = std::atoi(argv[2]);
    measure(World::connect({.rank = rank,
                            .size = kRanks,
                            .local_rank = rank,
                            .local_size = kRanks,
                            .backend = "local",
                            .rendezvous = argv[3],
                            .intra_op_threads = 1}));
    return 0;
  }
  std::fprintf(stderr, "usage: comm_bench threads | comm_bench process RANK RENDEZVOUS\n");
  return 2;
}
