// Groups for device memory, on a device without hardware: the NCCL engine over a fake NCCL that runs
// operations as late as it may, and the one through host memory. Failures end what is under way and name
// their cause.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <c10/core/impl/VirtualGuardImpl.h>
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
      world->everyone()->all_reduce({ones_on(world, 4)}, ReduceOp::sum)->wait();  // connects them
      if (world->rank() == 0) world->everyone()->all_reduce({ones_on(world, 4)}, ReduceOp::sum);
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

TEST(NcclGroup, AMessageThatNobodyTakesNamesTheOtherSide) {
  WorldOptions options;
  options.timeout = std::chrono::milliseconds(300);
  const Error error = error_of(fake_device_worlds(3, true, options), [](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    if (world->rank() == 0) group->recv(ones_on(world, 4), 2, 0)->wait();
    if (world->rank() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(900));
  });
  EXPECT_EQ(error.code(), Code::timeout);
  EXPECT_EQ(error.rank(), 2);
  EXPECT_NE(std::string(error.what()).find("missing rank 2"), std::string::npos) << error.what();
}

// NCCL connects the ranks when they first call, and waits for a rank that has failed before anything is on
// the device.
TEST(NcclGroup, AnAbortEndsAFirstCallThatIsStillConnecting) {
  const auto start = std::chrono::steady_clock::now();
  for (const bool message : {false, true}) {
    const Error error = error_of(fake_device_worlds(2, true), [&](const WorldPtr& world) {
      const GroupPtr group = world->everyone();
      if (world->rank() == 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        throw Error(Code::io, "the disk is full");
      }
      if (message) {
        group->recv(ones_on(world, 4), 1, 0)->wait();
      } else {
        group->all_reduce({ones_on(world, 4)}, ReduceOp::sum);
      }
      ADD_FAILURE() << "nobody came";
    });
    EXPECT_EQ(error.code(), Code::io) << error.what();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(NcclGroup, EndingCommunicatorsLeavesTheCallersDeviceCurrent) {
  const c10::impl::VirtualGuardImpl guard(c10::kPrivateUse1);
  const std::vector<WorldPtr> worlds = fake_device_worlds(2, true);
  run_worlds(worlds, [&](const WorldPtr& world) {
    static_cast<void>(DeviceMesh(world, {.dp_shard = 2}));
    world->everyone()->all_reduce({ones_on(world, 4)}, ReduceOp::sum)->wait();
    world->close();
    EXPECT_EQ(guard.getDevice().index(), world->rank());
  });
  guard.setDevice(at::Device(c10::kPrivateUse1, 7));
  fake_device_worlds(2, true)[0]->abort("of the host's own thread");
  EXPECT_EQ(guard.getDevice().index(), 7);
  guard.setDevice(at::Device(c10::kPrivateUse1, 0));
}

/// Each rank of `group` gathers and reduces in memory of the group, `rounds` times.
void exercise_memory(Group& group, const at::Device& device, int rounds) {
  const at::Tensor shard = collective_memory(group, 64).view(at::kFloat).fill_(group.rank() + 1);
  const at::Tensor full = collective_memory(group, 64 * group.size()).view(at::kFloat);
  for (int i = 0; i < rounds; ++i) {
    group.all_gather({full}, {shard})->wait();
    for (int r = 0; r < group.size(); ++r) EXPECT_EQ(full.cpu()[16 * r].item<float>(), r + 1);
    const at::Tensor sum = at::empty({16}, at::dtype(at::kFloat).device(device));
    group.reduce_scatter({sum}, {full}, ReduceOp::sum)->wait();
    EXPECT_EQ(sum.cpu()[0].item<float>(), (group.rank() + 1) * group.size());
  }
}

void expect_no_violations() {
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(RegisteredMemory, IsUsedInPlaceAndGivenBackBeforeTheCommunicatorEnds) {
  const std::vector<WorldPtr> worlds = fake_device_worlds(3, true);
  at::Tensor outlives[3];
  run_worlds(worlds, [&](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    exercise_memory(*group, device_of(*world), 2);
    exercise_memory(*group, device_of(*world), 1);
    EXPECT_EQ(bytes_beside_allocator(*world), 0);
    outlives[world->rank()] = collective_memory(*group, 1000);
    EXPECT_EQ(bytes_beside_allocator(*world), 2 << 20);
    world->close();
  });
  const testing::Registrations seen = testing::registrations();
  EXPECT_EQ(seen.made, 15);
  EXPECT_EQ(seen.held, 0);
  EXPECT_EQ(seen.used_gather, 9);
  EXPECT_EQ(seen.used_reduce, 9);
  EXPECT_EQ(seen.plain, 0);
  expect_no_violations();
}

TEST(RegisteredMemory, TensorsMayOutliveTheirWorlds) {
  at::Tensor outlives;
  run_worlds(fake_device_worlds(2, true), [&](const WorldPtr& world) {
    const at::Tensor memory = collective_memory(*world->everyone(), 1000);
    if (world->rank() == 0) outlives = memory;
  });
  EXPECT_EQ(outlives.fill_(3).cpu()[999].item<uint8_t>(), 3);
  outlives.reset();
  EXPECT_EQ(testing::registrations().held, 0);
  expect_no_violations();
}

TEST(RegisteredMemory, AllRanksGoWithoutWhereOneCannot) {
  for (const int attempt : {1, 2, 4}) {
    SCOPED_TRACE(attempt);
    const std::vector<WorldPtr> worlds = fake_device_worlds(3, true);
    testing::refuse_registration(1, attempt);
    run_worlds(worlds, [](const WorldPtr& world) {
      for (int i = 0; i < 3; ++i) exercise_memory(*world->everyone(), device_of(*world), 1);
    });
    const testing::Registrations seen = testing::registrations();
    // What was registered before stays in use, by all; two buffers a time, three ranks.
    EXPECT_EQ(seen.used_gather, 3 * ((attempt - 1) / 2));
    EXPECT_EQ(seen.used_gather + seen.used_reduce + seen.plain, 18);
    EXPECT_EQ(seen.held, 0);
    expect_no_violations();
  }
}

TEST(RegisteredMemory, IsForGroupsOfOneHostUnlessToldOtherwise) {
  const std::vector<std::string> hosts = {"a", "b", "a", "b"};
  for (const auto& [setting, within, across] :
       {std::tuple("auto", 4, 0), std::tuple("on", 4, 4), std::tuple("off", 0, 0)}) {
    SCOPED_TRACE(setting);
    WorldOptions options;
    options.register_buffers = setting;
    testing::place_on_hosts(hosts);
    const std::vector<WorldPtr> worlds = fake_device_worlds(4, true, options);
    run_worlds(worlds, [&](const WorldPtr& world) {
      const int r = world->rank();
      const GroupPtr one_host = split_world(*world, cat("host", r % 2), {r % 2, r % 2 + 2});
      const GroupPtr both = split_world(*world, cat("pair", r / 2), {r / 2 * 2, r / 2 * 2 + 1});
      exercise_memory(*one_host, device_of(*world), 1);
      world->everyone()->barrier();
      const int before = testing::registrations().used_gather;
      world->everyone()->barrier();
      EXPECT_EQ(before, within);
      exercise_memory(*both, device_of(*world), 1);
      world->everyone()->barrier();
      EXPECT_EQ(testing::registrations().used_gather - before, across);
    });
    expect_no_violations();
  }
}

TEST(RegisteredMemory, SurvivesAnAbortWhileItIsInUse) {
  const Error error = error_of(fake_device_worlds(3, true), [&](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    exercise_memory(*group, device_of(*world), 1);
    const at::Tensor shard = collective_memory(*group, 64);
    const at::Tensor full = collective_memory(*group, 192);
    group->barrier();
    if (world->rank() == 1) throw Error(Code::io, "the disk is full");
    group->all_gather({full}, {shard})->wait();
    synchronize(*world);
  });
  EXPECT_EQ(error.code(), Code::io);
  EXPECT_EQ(testing::registrations().held, 0);
  expect_no_violations();
}

TEST(RegisteredMemory, OtherSettingsAreRefused) {
  WorldOptions options;
  options.register_buffers = "yes";
  try {
    World::threads(2, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "register_buffers=yes is unknown: expected auto, on or off");
  }
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
