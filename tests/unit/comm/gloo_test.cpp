// The gloo engine: the same results as the local one, over sockets. Ranks are threads that connect like
// processes.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "collective_suite.h"
#include "comm/world.h"
#include "core/error.h"
#include "rank_processes.h"
#include "rank_threads.h"

namespace tessera {
namespace {

using testing::run_connected;
using testing::TemporaryRendezvous;

class Gloo : public ::testing::TestWithParam<int> {};

TEST_P(Gloo, CollectivesGiveWhatPlainLoopsGive) {
  run_connected(
      GetParam(), testing::free_tcp_rendezvous(),
      [](const WorldPtr& world) { testing::exercise_collectives_briefly(*world->everyone(), 1); }, "gloo");
}

TEST_P(Gloo, GivesTheSameBitsAsTheLocalEngine) {
  const TemporaryRendezvous rendezvous;
  std::vector<uint64_t> gloo(GetParam()), local(GetParam());
  run_connected(
      GetParam(), rendezvous.address(),
      [&](const WorldPtr& world) { gloo[world->rank()] = testing::collective_digest(*world->everyone()); },
      "gloo");
  testing::run_ranks(GetParam(), [&](const WorldPtr& world) {
    local[world->rank()] = testing::collective_digest(*world->everyone());
  });
  EXPECT_EQ(gloo, local);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Gloo, ::testing::Values(1, 2, 3, 4));

TEST(GlooGroup, SubgroupsAreIndependentAndShareNoMemory) {
  run_connected(
      4, testing::free_tcp_rendezvous(),
      [](const WorldPtr& world) {
        const int half = world->rank() / 2;
        const GroupPtr group = world->group("half", {half * 2, half * 2 + 1});
        at::Tensor sum = at::full({20000}, world->rank(), at::kInt);
        group->all_reduce({sum}, ReduceOp::sum)->wait();
        EXPECT_EQ(sum[19999].item().toInt(), half == 0 ? 1 : 5);
        EXPECT_FALSE(group->shares_memory());
        EXPECT_THROW(group->allocate_shared(8), Error);
      },
      "gloo");
}

TEST(GlooGroup, PayloadsTravelBeforeTheReceiverWaits) {
  run_connected(
      2, testing::free_tcp_rendezvous(),
      [](const WorldPtr& world) {
        const GroupPtr group = world->everyone();
        constexpr int kMessages = 3;
        constexpr int64_t kElements = 1 << 20;  // more than sockets hold
        if (world->rank() == 0) {
          for (int tag = 0; tag < kMessages; ++tag)
            group->send(at::full({kElements}, static_cast<float>(tag)), 1, tag)->wait();
          group->barrier();
          return;
        }
        std::vector<at::Tensor> received;
        std::vector<WorkPtr> works;
        for (int tag = 0; tag < kMessages; ++tag) {
          received.push_back(at::zeros({kElements}));
          works.push_back(group->recv(received[tag], 0, tag));
        }
        group->barrier();  // which rank 0 calls when all has left it
        for (int tag = kMessages - 1; tag >= 0; --tag) {
          works[tag]->wait();
          EXPECT_EQ(received[tag][kElements - 1].item().toFloat(), static_cast<float>(tag));
        }
      },
      "gloo");
}

TEST(GlooGroup, ReceivesThatNobodyWaitsForDoNotHoldUpTheEnd) {
  run_connected(
      2, testing::free_tcp_rendezvous(),
      [](const WorldPtr& world) {
        const GroupPtr group = world->everyone();
        if (world->rank() == 1) group->recv(at::zeros({4}), 0, 7);
        group->barrier();
      },
      "gloo");
}

TEST(GlooGroup, DifferentCollectivesAreReportedOnEveryRank) {
  std::vector<std::string> texts(3);
  EXPECT_THROW(run_connected(
                   3, testing::free_tcp_rendezvous(),
                   [&](const WorldPtr& world) {
                     const GroupPtr group = world->everyone();
                     at::Tensor x = at::zeros({4});
                     try {
                       if (world->rank() == 2) {
                         group->broadcast({x}, 0)->wait();
                       } else {
                         group->all_reduce({x}, ReduceOp::sum)->wait();
                       }
                     } catch (const Error& error) {
                       EXPECT_EQ(error.code(), Code::collective_mismatch);
                       texts[world->rank()] = error.what();
                       throw;
                     }
                   },
                   "gloo"),
               Error);
  for (const std::string& text : texts) {
    EXPECT_EQ(text,
              "group world, operation 1: rank 0 calls all_reduce(sum) of 1 float32 tensor, 4 elements, rank "
              "2 calls "
              "broadcast from group rank 0 of 1 float32 tensor, 4 elements");
  }
}

}  // namespace
}  // namespace tessera
