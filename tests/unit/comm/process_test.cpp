// The local engine's path for processes (memory files, staging), driven from threads that connect like
// processes.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <thread>

#include "collective_suite.h"
#include "comm/shared_file.h"
#include "comm/world.h"
#include "core/error.h"
#include "rank_processes.h"
#include "rank_threads.h"

namespace tessera {
namespace {

using testing::run_connected;
using testing::TemporaryRendezvous;

class LocalProcesses : public ::testing::TestWithParam<int> {};

TEST_P(LocalProcesses, CollectivesGiveWhatPlainLoopsGive) {
  const TemporaryRendezvous rendezvous;
  run_connected(GetParam(), rendezvous.address(),
                [](const WorldPtr& world) { testing::exercise_collectives(*world->everyone(), 1); });
}

TEST_P(LocalProcesses, GiveTheSameBitsAsThreads) {
  const TemporaryRendezvous rendezvous;
  std::vector<uint64_t> connected(GetParam()), threads(GetParam());
  run_connected(GetParam(), rendezvous.address(), [&](const WorldPtr& world) {
    connected[world->rank()] = testing::collective_digest(*world->everyone());
  });
  testing::run_ranks(GetParam(), [&](const WorldPtr& world) {
    threads[world->rank()] = testing::collective_digest(*world->everyone());
  });
  EXPECT_EQ(connected, threads);
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalProcesses, ::testing::Values(2, 3, 4, 8));

TEST(LocalProcesses, MeetOverTcp) {
  run_connected(3, testing::free_tcp_rendezvous(),
                [](const WorldPtr& world) { testing::exercise_collectives_briefly(*world->everyone(), 2); });
}

TEST(LocalProcesses, SubgroupsAndSharedMemory) {
  const TemporaryRendezvous rendezvous;
  run_connected(4, rendezvous.address(), [](const WorldPtr& world) {
    const int half = world->rank() / 2;
    const GroupPtr group = world->group("half", {half * 2, half * 2 + 1});
    const at::Tensor block = group->allocate_shared(8192);
    block.narrow(0, group->rank() * 4096, 4096).fill_(world->rank() + 1);
    group->barrier();
    for (int r = 0; r < 2; ++r) EXPECT_EQ(block[r * 4096 + 77].item().toInt(), half * 2 + r + 1);

    const SharedBlocks shared = group->allocate_symmetric(2 * 4000 * 4);
    const at::Tensor own = shared.blocks[group->rank()].view(at::kFloat);
    own.fill_(world->rank() + 1);
    at::Tensor out = at::zeros({4000});
    group->reduce_scatter({out}, {own}, ReduceOp::sum)->wait();
    EXPECT_EQ(out[3999].item().toDouble(), half == 0 ? 3.0 : 7.0);
    group->all_reduce({own}, ReduceOp::sum)->wait();
    group->barrier();
    EXPECT_EQ(shared.blocks[1 - group->rank()].view(at::kFloat)[7999].item().toDouble(),
              half == 0 ? 3.0 : 7.0);
  });
}

TEST(LocalProcesses, AbsentRankIsNamed) {
  const TemporaryRendezvous rendezvous;
  try {
    World::connect({.rank = 0,
                    .size = 3,
                    .local_size = 3,
                    .backend = "local",
                    .rendezvous = rendezvous.address(),
                    .timeout = std::chrono::milliseconds(300)});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::timeout);
    EXPECT_NE(std::string(error.what()).find("for rank 1, rank 2"), std::string::npos) << error.what();
  }
}

TEST(World, ConnectRefusesBadOptions) {
  const auto message = [](const WorldOptions& options) -> std::string {
    try {
      World::connect(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({.rank = 2, .size = 2}), "rank=2 is not in a world of 2");
  EXPECT_EQ(
      message({.size = 2, .local_size = 2}),
      "rendezvous is empty, but size=2 ranks of several processes must meet: expected tcp://host:port or "
      "file:///path");
  EXPECT_EQ(message({.size = 2, .local_size = 2, .rendezvous = "http://x"}),
            "rendezvous=http://x is unknown: expected tcp://host:port or file:///path");
  EXPECT_EQ(message({.size = 2, .local_size = 2, .rendezvous = "tcp://x:70000"}),
            "rendezvous=tcp://x:70000: the port is not a number between 1 and 65535");
  EXPECT_EQ(message({.size = 2, .local_size = 2, .rendezvous = "tcp://x"}),
            "rendezvous=tcp://x has no port: expected tcp://host:port");
  EXPECT_EQ(message({.size = 2, .local_size = 1, .backend = "local"}),
            "backend=local needs all ranks on one host, but local_size=1 of size=2");
  EXPECT_EQ(message({.backend = "mpi"}), "backend=mpi is unknown: expected auto, local, gloo or nccl");
  EXPECT_EQ(message({.backend = "nccl"}), "backend=nccl needs device=cuda and the CUDA plugin");
  EXPECT_EQ(message({.device = "cuda"}).substr(0, 13), "device=cuda: ");
  EXPECT_EQ(message({.device = "tpu"}), "device=tpu is unknown: expected cpu or cuda");
  EXPECT_EQ(message({.allocator = "pool"}), "allocator=pool is unknown: expected caching or system");
}

class SharedFiles : public ::testing::TestWithParam<SharedFileKind> {};

TEST_P(SharedFiles, AreSeenThroughTheirAddress) {
  const auto file = SharedFile::create(10000, GetParam());
  const SharedMemoryPtr other = SharedFile::attach(file->address(), 10000);
  ASSERT_NE(other->data(), file->memory()->data());
  EXPECT_EQ(std::to_integer<int>(other->data()[9999]), 0);
  std::memset(file->memory()->data(), 7, 10000);
  EXPECT_EQ(std::to_integer<int>(other->data()[9999]), 7);
  EXPECT_THROW(SharedFile::attach(file->address(), 10001), Error);
}

TEST_P(SharedFiles, CannotBeReachedAfterTheirEnd) {
  const std::string address = SharedFile::create(100, GetParam())->address();
  EXPECT_THROW(SharedFile::attach(address, 100), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SharedFiles,
                         ::testing::Values(SharedFileKind::anonymous, SharedFileKind::named));

TEST(SharedFile, RefusesMalformedAddresses) {
  for (const char* address :
       {"", "memfd", "memfd x y z", "memfd 1 2", "file /etc/passwd", "shm /tessera-none"}) {
    EXPECT_THROW(SharedFile::attach(address, 100), Error) << address;
  }
}

}  // namespace
}  // namespace tessera
