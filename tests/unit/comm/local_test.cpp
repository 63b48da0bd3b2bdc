// The local engine with ranks as threads: right results, shared memory, asynchrony.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <atomic>

#include "collective_suite.h"
#include "comm/world.h"
#include "core/error.h"
#include "mesh/device_mesh.h"
#include "rank_threads.h"

namespace tessera {
namespace {

using testing::run_ranks;

class LocalThreads : public ::testing::TestWithParam<int> {};

TEST_P(LocalThreads, CollectivesGiveWhatPlainLoopsGive) {
  run_ranks(GetParam(), [](const WorldPtr& world) { testing::exercise_collectives(*world->everyone(), 1); });
}

TEST_P(LocalThreads, ResultsAreTheSameOnAllRanksAndInAllRuns) {
  std::vector<uint64_t> digests;
  for (int run = 0; run < 2; ++run) {
    std::vector<uint64_t> now(GetParam());
    run_ranks(GetParam(), [&](const WorldPtr& world) {
      now[world->rank()] = testing::collective_digest(*world->everyone());
    });
    digests.insert(digests.end(), now.begin(), now.end());
  }
  for (uint64_t digest : digests) EXPECT_EQ(digest, digests[0]);
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalThreads, ::testing::Values(1, 2, 3, 4, 5, 8));

TEST(LocalGroup, SubgroupsOfSameNameAreIndependent) {
  run_ranks(6, [](const WorldPtr& world) {
    const int half = world->rank() / 3;
    const GroupPtr group = world->group("half", {half * 3, half * 3 + 1, half * 3 + 2});
    EXPECT_EQ(group->rank(), world->rank() % 3);
    testing::exercise_collectives_briefly(*group, half);
    at::Tensor sum = at::full({1}, world->rank(), at::kLong);
    group->all_reduce({sum}, ReduceOp::sum)->wait();
    EXPECT_EQ(sum.item().toLong(), half == 0 ? 3 : 12);
  });
}

TEST(LocalGroup, WaitingInAnotherOrderThanStartingDoesNotBlock) {
  run_ranks(2, [](const WorldPtr& world) {
    const GroupPtr a = world->group("a", {0, 1});
    const GroupPtr b = world->group("b", {0, 1});
    at::Tensor x = at::full({5000}, 1.0F);
    at::Tensor y = at::full({5000}, 2.0F);
    const WorkPtr on_a = a->all_reduce({x}, ReduceOp::sum);
    const WorkPtr on_b = b->all_reduce({y}, ReduceOp::sum);
    (world->rank() == 0 ? on_a : on_b)->wait();
    (world->rank() == 0 ? on_b : on_a)->wait();
    EXPECT_EQ(x[0].item().toDouble(), 2.0);
    EXPECT_EQ(y[4999].item().toDouble(), 4.0);
  });
}

TEST(LocalGroup, LongListsTravelAsOneOperation) {
  run_ranks(3, [](const WorldPtr& world) {
    std::vector<at::Tensor> outs, ins;
    for (int i = 0; i < 100; ++i) {
      ins.push_back(at::full({i}, world->rank() * 1000 + i, at::kInt));
      outs.push_back(at::zeros({3 * i}, at::kInt));
    }
    world->everyone()->all_gather(outs, ins)->wait();
    for (int i = 1; i < 100; ++i) {
      for (int r = 0; r < 3; ++r) EXPECT_EQ(outs[i][r * i].item().toInt(), r * 1000 + i);
    }
  });
}

TEST(LocalGroup, SharedBlockIsTheSameMemoryForAll) {
  run_ranks(4, [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    ASSERT_TRUE(group->shares_memory());
    const at::Tensor block = group->allocate_shared(4096);
    ASSERT_EQ(block.numel(), 4096);
    EXPECT_EQ(block.sum().item().toLong(), 0);
    group->barrier();
    block.narrow(0, world->rank() * 1024, 1024).fill_(world->rank() + 1);
    group->barrier();
    for (int r = 0; r < 4; ++r) EXPECT_EQ(block[r * 1024 + 5].item().toInt(), r + 1);
  });
}

TEST(LocalGroup, SymmetricBlocksAreVisibleToAllAndServeAsInputs) {
  run_ranks(3, [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    const SharedBlocks shared = group->allocate_symmetric(3 * 4000);
    ASSERT_EQ(shared.blocks.size(), 3U);
    shared.blocks[world->rank()].view(at::kFloat).fill_(world->rank() + 1);
    group->barrier();
    for (int r = 0; r < 3; ++r) EXPECT_EQ(shared.blocks[r].view(at::kFloat)[7].item().toDouble(), r + 1);
    at::Tensor out = at::zeros({1000});
    group->reduce_scatter({out}, {shared.blocks[world->rank()].view(at::kFloat)}, ReduceOp::sum)->wait();
    EXPECT_EQ(out[999].item().toDouble(), 6.0);
  });
}

TEST(LocalGroup, StartDoesNotWaitForPeers) {
  std::atomic<bool> started{false};
  run_ranks(2, [&](const WorldPtr& world) {
    at::Tensor sum = at::full({10000}, 1.0F);
    if (world->rank() == 1) {
      while (!started) std::this_thread::yield();
    }
    const WorkPtr work = world->everyone()->all_reduce({sum}, ReduceOp::sum);
    started = true;  // rank 0 gets here before rank 1 has called anything
    work->wait();
    EXPECT_EQ(sum[9999].item().toDouble(), 2.0);
  });
}

TEST(LocalGroup, RefusesBadArgumentsWithoutDisturbingPeers) {
  const auto message = [](auto call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  run_ranks(2, [&](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    at::Tensor four = at::zeros({4});
    EXPECT_EQ(message([&] { group->all_gather({four}, {four}); }),
              "all_gather: out[0] has 4 elements, expected 2 x 4");
    EXPECT_EQ(message([&] { group->all_gather({four}, {}); }), "all_gather: 1 outputs for 0 inputs");
    EXPECT_EQ(message([&] { group->all_reduce({at::zeros({4, 4}).t().narrow(0, 0, 2)}, ReduceOp::sum); }),
              "all_reduce: tensor[0] is not contiguous");
    EXPECT_EQ(message([&] { group->all_reduce({at::Tensor()}, ReduceOp::sum); }),
              "all_reduce: tensor[0] is undefined");
    EXPECT_EQ(message([&] { group->all_reduce({at::zeros({4}, at::kLong)}, ReduceOp::avg); }),
              "reduction avg of int64 into int64 is not supported");
    EXPECT_EQ(message([&] { group->broadcast({four}, 2); }), "broadcast: root=2 is not in a group of 2");
    EXPECT_EQ(message([&] { group->send(four, world->rank(), 0); }),
              cat("send: rank ", world->rank(), " is not another rank of a group of 2"));
    EXPECT_EQ(message([&] { group->all_to_all(four, four, {3, 2}, {2, 2}); }),
              "all_to_all: out_splits[1]=2 does not fit into the 4 rows of out");
    EXPECT_EQ(message([&] { world->group("x", {0, 5}); }), "group x: rank 5 is not in a world of 2");
    EXPECT_EQ(message([&] { world->group("x", {1, 0}); }),
              "group x: rank 0 after 1 is not in ascending order");
    group->all_reduce({four}, ReduceOp::sum)->wait();
  });
}

TEST(DeviceMesh, GroupsFollowTheMesh) {
  run_ranks(8, [](const WorldPtr& world) {
    const DeviceMesh mesh(world, {.pp = 2, .dp_shard = -1, .tp = 2});
    EXPECT_EQ(mesh.layout().describe(), "pp=2 dp_replicate=1 dp_shard=2 cp=1 tp=2");
    for (const char* name :
         {"pp", "dp_replicate", "dp_shard", "cp", "tp", "dp", "dp_shard_cp", "dp_cp", "model", "world"}) {
      const GroupPtr& group = mesh.group(name);
      EXPECT_EQ(group->size(), mesh.size(name));
      EXPECT_EQ(group->rank(), mesh.index(name));
      EXPECT_EQ(group->world_ranks(), mesh.layout().group_ranks(world->rank(), submesh_axes(name)));
      at::Tensor sum = at::full({1}, world->rank(), at::kLong);
      group->all_reduce({sum}, ReduceOp::sum)->wait();
      int64_t wanted = 0;
      for (int r : group->world_ranks()) wanted += r;
      EXPECT_EQ(sum.item().toLong(), wanted) << name;
    }
    EXPECT_THROW(mesh.group("ep2"), Error);
  });
}

}  // namespace
}  // namespace tessera
