// Groups for device memory, on a device without hardware: the NCCL engine over a fake NCCL that runs
// operations as late as it may, and the one through host memory. Failures end what is under way and name
// their cause.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "collective_suite.h"
#include "comm/device_world.h"
#include "core/error.h"
#include "fake_device.h"
#include "mesh/device_mesh.h"
#include "rank_threads.h"

namespace tessera {
namespace {

using testing::fake_device_worlds;
using testing::run_worlds;
using testing::take_violations;

struct Case {
  int ranks;
  bool nccl;
};

class DeviceGroups : public ::testing::TestWithParam<Case> {};

TEST_P(DeviceGroups, CollectivesGiveWhatPlainLoopsGive) {
  run_worlds(fake_device_worlds(GetParam().ranks, GetParam().nccl), [](const WorldPtr& world) {
    testing::exercise_device_collectives(*world->everyone(), device_of(*world), 1);
    testing::exercise_collectives_briefly(*world->everyone(), 2);  // host memory is served too
  });
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST_P(DeviceGroups, GroupsOfAMeshAreIndependent) {
  const int ranks = GetParam().ranks;
  if (ranks % 2 != 0) GTEST_SKIP() << "needs an even number of ranks";
  run_worlds(fake_device_worlds(ranks, GetParam().nccl), [&](const WorldPtr& world) {
    const DeviceMesh mesh(world, {.dp_shard = ranks / 2, .tp = 2});
    for (const char* axis : {"tp", "dp_shard", "world", "cp"}) {
      const GroupPtr& group = mesh.group(axis);
      at::Tensor sum = at::full({3}, world->rank() + 1, at::dtype(at::kLong).device(device_of(*world)));
      group->all_reduce({sum}, ReduceOp::sum)->wait();
      int64_t expected = 0;
      for (const int r : group->world_ranks()) expected += r + 1;
      EXPECT_EQ(sum.cpu()[0].item<int64_t>(), expected) << axis;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, DeviceGroups,
                         ::testing::Values(Case{1, true}, Case{2, true}, Case{3, true}, Case{4, true},
                                           Case{8, true}, Case{2, false}, Case{3, false}),
                         [](const auto& info) {
                           return cat(info.param.nccl ? "Nccl" : "Staged", info.param.ranks);
                         });

at::Tensor ones_on(const WorldPtr& world, int64_t count) {
  return at::ones({count}, at::dtype(at::kFloat).device(device_of(*world)));
}

/// What a run of ranks ends with.
Error error_of(const std::vector<WorldPtr>& worlds, const std::function<void(const WorldPtr&)>& body) {
  try {
    run_worlds(worlds, body);
  } catch (const Error& error) {
    return error;
  }
  return {Code::ok, "no error"};
}

TEST(NcclGroup, AReadBeforeTheWaitFindsNaN) {
  run_worlds(fake_device_worlds(2, true), [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    const at::Tensor sum = ones_on(world, 4);
    const WorkPtr work = group->all_reduce({sum}, ReduceOp::sum);
    EXPECT_TRUE(std::isnan(sum.cpu()[0].item<float>())) << "the test would not see a missing wait";
    work->wait();
    EXPECT_EQ(sum.cpu()[0].item<float>(), 2);
  });
}

TEST(NcclGroup, AWriteToAnInputUnderWayIsNoted) {
  run_worlds(fake_device_worlds(2, true), [](const WorldPtr& world) {
    const at::Tensor in = ones_on(world, 4);
    const at::Tensor out = ones_on(world, 8);
    const WorkPtr work = world->everyone()->all_gather({out}, {in});
    in.fill_(3);
    work->wait();
  });
  const std::vector<std::string> noted = take_violations();
  ASSERT_EQ(noted.size(), 2U);
  EXPECT_NE(noted[0].find("an input changed"), std::string::npos) << noted[0];
}

TEST(NcclGroup, DifferentCallsAreReportedWithBothNames) {
  const Error error = error_of(fake_device_worlds(3, true), [](const WorldPtr& world) {
    const at::Tensor tensor = ones_on(world, 4);
    if (world->rank() == 1) {
      world->everyone()->broadcast({tensor}, 0)->wait();
    } else {
      world->everyone()->all_reduce({tensor}, ReduceOp::sum)->wait();
    }
  });
  EXPECT_EQ(error.code(), Code::collective_mismatch);
  EXPECT_STREQ(
      error.what(),
      "group world, operation 1: rank 0 calls all_reduce(sum) of 1 float32 tensor, 4 elements, rank 1 calls "
      "broadcast from group rank 0 of 1 float32 tensor, 4 elements");
}

TEST(NcclGroup, ARankThatDoesNotComeIsNamedWhenTheTimeIsOver) {
  WorldOptions options;
  options.timeout = std::chrono::milliseconds(300);
  const Error error = error_of(fake_device_worlds(3, true, options), [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    if (world->rank() == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
      return;
    }
    group->all_reduce({ones_on(world, 4)}, ReduceOp::sum)->wait();
  });
  EXPECT_EQ(error.code(), Code::timeout);
  EXPECT_EQ(error.rank(), 2);
  EXPECT_STREQ(
      error.what(),
      "all_reduce(sum) of 1 float32 tensor, 4 elements on group world (operation 1) timed out after 300 ms: "
      "missing rank 2");
}

TEST(NcclGroup, AnAbortEndsWhatPeersWaitFor) {
  std::atomic<int> told{0};
  const Error error = error_of(fake_device_worlds(4, true), [&](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    group->barrier();
    if (world->rank() == 3) throw Error(Code::io, "the disk is full");
    try {
      group->all_reduce({ones_on(world, 4)}, ReduceOp::sum)->wait();
    } catch (const Error& failure) {
      EXPECT_EQ(failure.code(), Code::peer_failed);
      EXPECT_EQ(failure.rank(), 3);
      EXPECT_NE(std::string(failure.what()).find("the disk is full"), std::string::npos) << failure.what();
      ++told;
      throw;
    }
  });
  EXPECT_EQ(error.code(), Code::io);
  EXPECT_EQ(told.load(), 3);
}

TEST(NcclGroup, ABrokenConnectionIsAnErrorOfNccl) {
  const Error error = error_of(fake_device_worlds(2, true), [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    const at::Tensor tensor = ones_on(world, 4);
    group->all_reduce({tensor}, ReduceOp::sum)->wait();
    group->barrier();
    if (world->rank() == 1) testing::break_connections(1);
    group->all_reduce({tensor}, ReduceOp::sum)->wait();
    synchronize(*world);
    group->all_reduce({tensor}, ReduceOp::sum)->wait();
    synchronize(*world);
  });
  testing::break_connections(-1);
  EXPECT_EQ(error.code(), Code::device);
  EXPECT_EQ(error.domain(), Domain::nccl);
  EXPECT_NE(std::string(error.what()).find("remote error (the fake network is down)"), std::string::npos)
      << error.what();
}

TEST(NcclGroup, AWorldThatEndsWhileOperationsAreUnderWayLeavesNothingBehind) {
  const std::vector<WorldPtr> worlds = fake_device_worlds(2, true);
  std::vector<std::thread> threads;
  for (const WorldPtr& world : worlds) {
    threads.emplace_back([world] {
      world->bind_thread();
      if (world->rank() == 0) world->everyone()->all_reduce({ones_on(world, 4)}, ReduceOp::sum);
      if (world->rank() == 1) static_cast<void>(world->everyone());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(NcclGroup, FirstMessagesAroundARingDoNotWaitForEachOther) {
  run_worlds(fake_device_worlds(4, true), [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    const int n = world->size();
    const at::Tensor mine = at::full({5}, world->rank(), at::dtype(at::kFloat).device(device_of(*world)));
    const at::Tensor theirs = at::empty_like(mine);
    const WorkPtr received = group->recv(theirs, (world->rank() + n - 1) % n, 0);
    const WorkPtr sent = group->send(mine, (world->rank() + 1) % n, 0);
    sent->wait();
    received->wait();
    EXPECT_EQ(theirs.cpu()[4].item<float>(), static_cast<float>((world->rank() + n - 1) % n));
  });
}

TEST(NcclGroup, TensorsOnAnotherDeviceAreRefused) {
  const Error error = error_of(fake_device_worlds(2, true), [](const WorldPtr& world) {
    const at::Tensor in = ones_on(world, 4);
    world->everyone()->all_gather({at::ones({8})}, {in});
  });
  EXPECT_EQ(error.code(), Code::argument);
  EXPECT_NE(std::string(error.what()).find("out[0] is on cpu, the group is on privateuseone:"),
            std::string::npos)
      << error.what();
}

}  // namespace
}  // namespace tessera
