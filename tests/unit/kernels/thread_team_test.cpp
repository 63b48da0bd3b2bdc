// Chunks on a team of threads: each once, whoever is late, and errors that come back.
#include "kernels/cpu/thread_team.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

TEST(ThreadTeam, RunsEachChunkOnce) {
  for (int threads : {1, 2, 4, 7, 3}) {
    const ThreadsGuard guard(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(round));
      for_chunks(round, [&](int64_t chunk) { ++runs[static_cast<size_t>(chunk)]; });
      for (const auto& n : runs) ASSERT_EQ(n, 1);
    }
  }
}

TEST(ThreadTeam, CoversARangeInPartsOfAGrainAtLeast) {
  const ThreadsGuard guard(4);
  for (int64_t n : {0, 1, 9, 10, 11, 1000}) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
    parallel_for(5, 5 + n, 10, [&](int64_t begin, int64_t end) {
      EXPECT_TRUE(end - begin >= 10 || end - begin == n);
      for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i - 5)];
    });
    for (const auto& hit : hits) ASSERT_EQ(hit, 1);
  }
}

TEST(ThreadTeam, DoesTheShareOfAThreadThatIsPutOff) {
  const ThreadsGuard guard(2);
  std::atomic<int> done{0};
  for_chunks(8, [&](int64_t chunk) {
    while (chunk == 0 && done < 7) std::this_thread::yield();
    ++done;
  });
  EXPECT_EQ(done, 8);
}

TEST(ThreadTeam, RunsOnOneThreadWithinAChunk) {
  const ThreadsGuard guard(4);
  for_chunks(16, [&](int64_t) {
    EXPECT_EQ(team_threads(), 1);
    EXPECT_EQ(at::get_num_threads(), 1);
    const std::thread::id here = std::this_thread::get_id();
    for_chunks(4, [&](int64_t) { EXPECT_EQ(std::this_thread::get_id(), here); });
  });
  EXPECT_EQ(team_threads(), 4);
  EXPECT_EQ(at::get_num_threads(), 4);
}

TEST(ThreadTeam, ThrowsWhatAChunkThrew) {
  const ThreadsGuard guard(4);
  for (int64_t bad : {0, 5, 15}) {
    EXPECT_THROW(for_chunks(16,
                            [&](int64_t chunk) {
                              if (chunk == bad) throw std::runtime_error("chunk");
                            }),
                 std::runtime_error);
    std::atomic<int> done{0};
    for_chunks(16, [&](int64_t) { ++done; });
    EXPECT_EQ(done, 16);
  }
}

TEST(ThreadTeam, ServesManyCallersAtOnceAndEndsWithThem) {
  for (int round = 0; round < 10; ++round) {
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([] {
        const ThreadsGuard guard(3);
        for (int i = 0; i < 100; ++i) {
          std::atomic<int64_t> sum{0};
          for_chunks(10, [&](int64_t chunk) { sum += chunk; });
          ASSERT_EQ(sum, 45);
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
}

// At exit() too, which ends the team of the thread that calls it.
TEST(ThreadTeam, WorksInTheChildOfAFork) {
  const ThreadsGuard guard(3);
  for_chunks(8, [](int64_t) {});
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    std::atomic<int> done{0};
    for_chunks(8, [&](int64_t) { ++done; });
    std::exit(done == 8 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  std::atomic<int> done{0};
  for_chunks(8, [&](int64_t) { ++done; });
  EXPECT_EQ(done, 8);
}

}  // namespace
}  // namespace tessera::kernels
