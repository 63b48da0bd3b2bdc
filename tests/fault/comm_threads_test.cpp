// Rank threads that stall, leave, abort or call something else: every survivor gets an error in time, naming
// the cause.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <thread>

#include "comm/world.h"
#include "core/error.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Outcome {
  std::optional<Error> error;
  milliseconds after{0};  ///< from the start of the run

  std::string text() const { return error ? error->what() : "no error"; }
  Code code() const { return error ? error->code() : Code::ok; }
};

/// Runs `body` on every rank; a rank's world lives until all ranks have ended unless the body resets it.
std::vector<Outcome> run(int size, milliseconds timeout, const std::function<void(WorldPtr&)>& body) {
  std::vector<WorldPtr> worlds = World::threads(size, {.timeout = timeout});
  std::vector<Outcome> outcomes(size);
  std::vector<std::thread> threads;
  const auto start = steady_clock::now();
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        body(worlds[r]);
      } catch (const Error& error) {
        outcomes[r].error = error;
      }
      outcomes[r].after = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << "text: " << (text)

TEST(RankThreads, StalledRankIsNamedAfterTheTimeout) {
  const auto outcomes = run(3, milliseconds(300), [](WorldPtr& world) {
    if (world->rank() == 2) std::this_thread::sleep_for(milliseconds(900));
    world->everyone()->all_reduce({at::zeros({3})}, ReduceOp::sum)->wait();
  });
  for (int r : {0, 1}) {
    EXPECT_EQ(outcomes[r].code(), Code::timeout);
    EXPECT_EQ(outcomes[r].text(),
              "all_reduce(sum) of 1 float32 tensor, 3 elements on group world timed out after 300 ms: "
              "missing rank 2");
    EXPECT_EQ(outcomes[r].error->rank(), 2);
    EXPECT_GE(outcomes[r].after.count(), 290);
    EXPECT_LT(outcomes[r].after.count(), 800);
  }
  // The group is poisoned: the late rank learns the first cause at once.
  EXPECT_EQ(outcomes[2].text(), outcomes[0].text());
}

TEST(RankThreads, TimeoutSaysWhereTheMissingRankWaits) {
  const auto outcomes = run(2, milliseconds(400), [](WorldPtr& world) {
    const GroupPtr other = world->group("other", {0, 1});
    if (world->rank() == 1) {
      std::this_thread::sleep_for(milliseconds(100));
      other->barrier();
    } else {
      world->everyone()->barrier();
    }
  });
  EXPECT_EQ(
      outcomes[0].text(),
      "barrier on group world timed out after 400 ms: missing rank 1 (it waits in barrier on group other)");
}

TEST(RankThreads, DifferentCollectivesAreReportedOnEveryRank) {
  const auto outcomes = run(4, milliseconds(20000), [](WorldPtr& world) {
    at::Tensor x = at::zeros({4});
    const GroupPtr group = world->everyone();
    group->barrier();
    if (world->rank() == 1) {
      group->all_gather({at::zeros({16})}, {x})->wait();
    } else {
      group->all_reduce({x}, ReduceOp::sum)->wait();
    }
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code(), Code::collective_mismatch);
    EXPECT_CONTAINS(outcome.text(), "group world, operation 2: rank ");
    EXPECT_CONTAINS(outcome.text(), "rank 1 calls all_gather of 1 float32 tensor, 4 elements");
    EXPECT_CONTAINS(outcome.text(), "calls all_reduce(sum) of 1 float32 tensor, 4 elements");
    EXPECT_LT(outcome.after.count(), 5000);
  }
}

TEST(RankThreads, DifferentSizesDtypesAndRootsAreReported) {
  const std::vector<std::function<void(Group&, int)>> calls = {
      [](Group& group, int rank) { group.all_reduce({at::zeros({4 + rank})}, ReduceOp::sum)->wait(); },
      [](Group& group, int rank) {
        group.all_reduce({at::zeros({4}, rank == 0 ? at::kFloat : at::kBFloat16)}, ReduceOp::sum)->wait();
      },
      [](Group& group, int rank) {
        group.all_reduce({at::zeros({4})}, rank == 0 ? ReduceOp::sum : ReduceOp::max)->wait();
      },
      [](Group& group, int rank) { group.broadcast({at::zeros({4})}, rank)->wait(); },
      [](Group& group, int rank) {
        // Equal in sum, different in the list.
        group.all_reduce({at::zeros({4 + rank}), at::zeros({4 - rank})}, ReduceOp::sum)->wait();
      },
      [](Group& group, int rank) {
        // What a rank sends itself fits, so that whoever looks first finds a mismatch between the two.
        const std::vector<int64_t> splits = rank == 0 ? std::vector<int64_t>{1, 3} : std::vector<int64_t>{2, 2};
        group.all_to_all(at::zeros({4}), at::zeros({4}), splits, splits)->wait();
      },
      [](Group& group, int rank) {
        if (rank == 0) group.send(at::zeros({4}), 1, 5)->wait();
        if (rank == 1) group.recv(at::zeros({5}), 0, 5)->wait();
      },
      [](Group& group, int rank) { group.allocate_shared(100 + rank); },
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto outcomes = run(2, milliseconds(20000), [&](WorldPtr& world) {
      calls[i](*world->everyone(), world->rank());
      world->everyone()->barrier();
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.code(), Code::collective_mismatch) << "call " << i << ": " << outcome.text();
      EXPECT_CONTAINS(outcome.text(), "rank 0");
      EXPECT_CONTAINS(outcome.text(), "rank 1");
    }
  }
}

TEST(RankThreads, DestroyedWorldFailsTheOthersAtOnce) {
  const auto outcomes = run(3, milliseconds(20000), [](WorldPtr& world) {
    world->everyone()->barrier();
    if (world->rank() == 1) {
      std::this_thread::sleep_for(milliseconds(50));
      world.reset();
      return;
    }
    world->everyone()->barrier();
  });
  for (int r : {0, 2}) {
    EXPECT_EQ(outcomes[r].code(), Code::peer_failed);
    EXPECT_EQ(outcomes[r].error->rank(), 1);
    EXPECT_EQ(outcomes[r].text(), "barrier on group world: rank 1 left its world");
    EXPECT_LT(outcomes[r].after.count(), 2000);
  }
}

TEST(RankThreads, AbortReachesWaitsInEveryGroup) {
  const auto outcomes = run(4, milliseconds(20000), [](WorldPtr& world) {
    const bool low = world->rank() < 2;
    const GroupPtr pair = world->group("pair", low ? std::vector<int>{0, 1} : std::vector<int>{2, 3});
    if (world->rank() == 0) {
      std::this_thread::sleep_for(milliseconds(100));
      world->abort("loss is NaN at step 7");
      return;
    }
    if (world->rank() == 3) return;  // rank 2 waits for rank 3, which will not come
    pair->barrier();
  });
  for (int r : {1, 2}) {
    EXPECT_EQ(outcomes[r].code(), Code::peer_failed);
    EXPECT_EQ(outcomes[r].error->rank(), 0);
    EXPECT_EQ(outcomes[r].text(), "barrier on group pair: rank 0 aborted: loss is NaN at step 7");
    EXPECT_LT(outcomes[r].after.count(), 2000);
  }
}

TEST(RankThreads, AbortFromAnotherThreadEndsTheOwnWait) {
  std::promise<WorldPtr> promise;
  std::thread watchdog([&] {
    const WorldPtr world = promise.get_future().get();
    std::this_thread::sleep_for(milliseconds(100));
    world->abort("cancelled by the host");
  });
  const auto outcomes = run(2, milliseconds(20000), [&](WorldPtr& world) {
    if (world->rank() == 1) {
      promise.set_value(world);
      world->everyone()->barrier();
    } else {
      world->everyone()->recv(at::zeros({1}), 1, 0)->wait();
    }
  });
  watchdog.join();
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code(), Code::peer_failed);
    EXPECT_CONTAINS(outcome.text(), "rank 1");
    EXPECT_LT(outcome.after.count(), 2000);
  }
}

TEST(RankThreads, EveryCallAfterAFailureGivesTheFirstCauseQuickly) {
  const auto outcomes = run(2, milliseconds(1000), [](WorldPtr& world) {
    if (world->rank() == 1) return;
    const GroupPtr group = world->everyone();
    at::Tensor x = at::zeros({3});
    std::string first;
    try {
      group->barrier();
    } catch (const Error& error) {
      first = error.what();
    }
    EXPECT_CONTAINS(first, "timed out after 1000 ms: missing rank 1");
    const auto start = steady_clock::now();
    const std::vector<std::function<void()>> calls = {
        [&] { group->barrier(); },
        [&] { group->all_reduce({x}, ReduceOp::sum)->wait(); },
        [&] { group->send(x, 1, 0)->wait(); },
        [&] { group->recv(x, 1, 0)->wait(); },
        [&] { group->allocate_shared(8); },
        [&] { world->close(); },
    };
    for (const auto& call : calls) {
      try {
        call();
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.what(), first);
      }
    }
    EXPECT_LT(steady_clock::now() - start, milliseconds(900));
  });
  EXPECT_EQ(outcomes[0].code(), Code::ok) << outcomes[0].text();
}

TEST(RankThreads, ClosedWorldRefusesCalls) {
  const auto outcomes = run(2, milliseconds(5000), [](WorldPtr& world) {
    const GroupPtr group = world->everyone();
    world->close();
    world->close();  // idempotent
    group->barrier();
  });
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.code(), Code::state) << outcome.text();
}

TEST(RankThreads, MemoryOfAFailedRankIsNotReadAfterItsErrorReturns) {
  // A rank gives up while others may be reading its tensor, then unmaps the memory: a late read would crash.
  for (int round = 0; round < 30; ++round) {
    run(3, milliseconds(20000), [&](WorldPtr& world) {
      constexpr int64_t kCount = 1 << 18;
      const GroupPtr group = world->everyone();
      at::Tensor in = at::full({3 * kCount}, 1.0F);
      at::Tensor out = at::zeros({kCount});
      if (world->rank() == 1) {
        std::this_thread::sleep_for(std::chrono::microseconds(50 * (round % 7)));
        std::thread([world] { world->abort("stop"); }).join();
      }
      for (int i = 0; i < 3; ++i) group->reduce_scatter({out}, {in}, ReduceOp::sum)->wait();
    });
  }
}

TEST(RankThreads, WorkDroppedWithoutWaitIsStillDone) {
  const auto outcomes = run(2, milliseconds(5000), [](WorldPtr& world) {
    at::Tensor x = at::full({5000}, 1.0F);
    world->everyone()->all_reduce({x}, ReduceOp::sum);
    world->everyone()->barrier();
    EXPECT_EQ(x[4999].item().toDouble(), 2.0);
    world->close();
  });
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.code(), Code::ok) << outcome.text();
}

}  // namespace
}  // namespace tessera
