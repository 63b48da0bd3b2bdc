// Ranks as real processes: killed, stopped, disagreeing, and started by launchers. Survivors report in time
// and live.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

#include "collective_suite.h"
#include "comm/world.h"
#include "core/error.h"
#include "rank_processes.h"
#include "rank_threads.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::RankProcesses;
using testing::TemporaryRendezvous;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

/// Calls collectives until one fails, and says how.
void play_until_failure(World& world) {
  const GroupPtr group = world.everyone();
  at::Tensor x = at::full({5000}, 1.0F);
  group->barrier();
  say("ready");
  try {
    for (;;) {
      group->all_reduce({x}, ReduceOp::max)->wait();
      std::this_thread::sleep_for(milliseconds(1));
    }
  } catch (const Error& error) {
    say(cat("error ", static_cast<int>(error.code()), " rank ", error.rank(), ": ", error.what()));
  }
  try {
    group->barrier();
    say("no second error");
  } catch (const Error& error) {
    say("again " + std::string(error.what()));
  }
}

/// Rank 2 stops, and rank 1 waits for it in the world's group; rank 0 there too, or in a group of it and
/// rank 1.
void wait_for_the_stopped(World& world, bool in_a_pair) {
  const GroupPtr all = world.everyone();
  const GroupPtr pair = world.rank() < 2 ? world.group("pair", {0, 1}) : nullptr;
  if (pair) pair->barrier();
  all->barrier();
  if (world.rank() == 2) ::raise(SIGSTOP);
  try {
    // Rank 1 begins later, so that it still waits when rank 0 gives up.
    if (world.rank() == 1) std::this_thread::sleep_for(milliseconds(1000));
    (in_a_pair && world.rank() == 0 ? pair : all)->barrier();
  } catch (const Error& error) {
    say(cat("error ", static_cast<int>(error.code()), " rank ", error.rank(), ": ", error.what()));
  }
}

TEST(RankProcess, DISABLED_Play) {
  const char* role_text = std::getenv(testing::kRoleVariable);
  if (role_text == nullptr) GTEST_SKIP() << "started by hand";
  const std::string role = role_text;
  if (role == "environment") {
    const WorldPtr world = World::from_environment({.timeout = milliseconds(60000)});
    const uint64_t digest = testing::collective_digest(*world->everyone());
    world->close();
    say(cat("rank ", world->rank(), " of ", world->size(), " digest ", digest));
    return;
  }
  const WorldPtr world = World::connect(testing::options_from_parent());
  if (role == "digest") {
    testing::exercise_collectives_briefly(*world->everyone(), 5);
    say(cat("digest ", testing::collective_digest(*world->everyone())));
    world->close();
  } else if (role == "loop") {
    play_until_failure(*world);
  } else if (role == "differ") {
    const GroupPtr group = world->everyone();
    try {
      group->barrier();  // so that all have made the group; a slow rank may learn of the failure here
      if (world->rank() == 1) {
        group->barrier();
      } else {
        group->all_reduce({at::zeros({3})}, ReduceOp::sum)->wait();
      }
    } catch (const Error& error) {
      say(cat("error ", static_cast<int>(error.code()), ": ", error.what()));
    }
  } else if (role == "pair" || role == "stagger") {
    wait_for_the_stopped(*world, role == "pair");
  } else {
    say("unknown role");
  }
}

uint64_t digest_of_threads(int size) {
  std::vector<uint64_t> digests(size);
  testing::run_ranks(size, [&](const WorldPtr& world) {
    digests[world->rank()] = testing::collective_digest(*world->everyone());
  });
  return digests[0];
}

/// Lines of `text` that start with `start`, without it.
std::vector<std::string> lines_after(const std::string& text, const std::string& start) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(start, 0) == 0) lines.push_back(line.substr(start.size()));
  }
  return lines;
}

class Engines : public ::testing::TestWithParam<const char*> {};

TEST_P(Engines, ProcessesGiveTheBitsOfThreads) {
  const std::string wanted = std::to_string(digest_of_threads(4));
  RankProcesses ranks("digest", 4, GetParam(), testing::free_tcp_rendezvous(), milliseconds(60000));
  for (int r = 0; r < 4; ++r) {
    const std::string text = ranks.finish(r);
    EXPECT_EQ(ranks.status(r), 0) << text;
    EXPECT_EQ(lines_after(text, "digest "), std::vector<std::string>{wanted}) << text;
  }
}

TEST_P(Engines, KilledProcessIsReportedWithinSeconds) {
  RankProcesses ranks("loop", 3, GetParam(), testing::free_tcp_rendezvous(), milliseconds(60000));
  for (int r = 0; r < 3; ++r) ranks.await_line(r, "ready");
  ranks.kill(1);
  const auto start = steady_clock::now();
  for (int r : {0, 2}) {
    ranks.await_line(r, "error ");
    EXPECT_LT(steady_clock::now() - start, milliseconds(3000));
    const std::string text = ranks.finish(r);
    EXPECT_EQ(ranks.status(r), 0) << "the survivor lives";
    const auto errors = lines_after(text, cat("error ", static_cast<int>(Code::peer_failed), " rank 1: "));
    ASSERT_EQ(errors.size(), 1U) << text;
    EXPECT_NE(errors[0].find("all_reduce(max) of 1 float32 tensor, 5000 elements on group world"),
              std::string::npos)
        << text;
    EXPECT_EQ(lines_after(text, "again "), errors) << text;
  }
}

TEST_P(Engines, KilledStoreHostIsAnErrorToo) {
  RankProcesses ranks("loop", 3, GetParam(), testing::free_tcp_rendezvous(), milliseconds(60000));
  for (int r = 0; r < 3; ++r) ranks.await_line(r, "ready");
  ranks.kill(0);
  const auto start = steady_clock::now();
  for (int r : {1, 2}) {
    ranks.await_line(r, cat("error ", static_cast<int>(Code::peer_failed)));
    EXPECT_LT(steady_clock::now() - start, milliseconds(15000));
    ranks.finish(r);
    EXPECT_EQ(ranks.status(r), 0) << "the survivor lives";
  }
}

TEST_P(Engines, StoppedProcessIsNamedAfterTheTimeout) {
  RankProcesses ranks("loop", 3, GetParam(), testing::free_tcp_rendezvous(), milliseconds(1500));
  for (int r = 0; r < 3; ++r) ranks.await_line(r, "ready");
  ranks.stop(2);
  for (int r : {0, 1}) {
    const std::string text = ranks.finish(r);
    EXPECT_EQ(ranks.status(r), 0);
    const auto errors = lines_after(text, cat("error ", static_cast<int>(Code::timeout), " rank 2: "));
    ASSERT_EQ(errors.size(), 1U) << text;
    EXPECT_NE(errors[0].find("timed out after 1500 ms: missing rank 2"), std::string::npos) << text;
  }
}

TEST_P(Engines, DifferentCollectivesAreReportedByEveryProcess) {
  RankProcesses ranks("differ", 3, GetParam(), testing::free_tcp_rendezvous(), milliseconds(20000));
  for (int r = 0; r < 3; ++r) {
    const std::string text = ranks.finish(r);
    EXPECT_EQ(ranks.status(r), 0);
    const auto errors = lines_after(text, cat("error ", static_cast<int>(Code::collective_mismatch), ": "));
    ASSERT_EQ(errors.size(), 1U) << text;
    EXPECT_NE(errors[0].find("rank 1 calls barrier"), std::string::npos) << text;
    EXPECT_NE(errors[0].find("calls all_reduce(sum) of 1 float32 tensor, 3 elements"), std::string::npos)
        << text;
  }
}

TEST(GlooEngine, ARankThatWaitsForAnotherGroupIsNotTakenForTheCause) {
  RankProcesses ranks("pair", 3, "gloo", testing::free_tcp_rendezvous(), milliseconds(2500));
  const std::string text = ranks.finish(0);
  const auto errors = lines_after(text, cat("error ", static_cast<int>(Code::timeout), " rank 2: "));
  ASSERT_EQ(errors.size(), 1U) << text;
  EXPECT_EQ(
      errors[0],
      "barrier on group pair timed out after 2500 ms: missing rank 1 (it waits in barrier on group world); "
      "missing from the world: rank 2 (stopped or out of reach)");
}

// Gloo ends the connections of the rank whose time is up first.
TEST(GlooEngine, ARankThatGivesUpFirstIsNotTakenForTheCause) {
  RankProcesses ranks("stagger", 3, "gloo", testing::free_tcp_rendezvous(), milliseconds(2500));
  for (int r : {0, 1}) {
    const std::string text = ranks.finish(r);
    EXPECT_EQ(lines_after(text, cat("error ", static_cast<int>(Code::timeout), " rank 2: ")),
              std::vector<std::string>{
                  "barrier on group world timed out after 2500 ms: missing rank 2 (stopped or out of reach)"})
        << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Processes, Engines, ::testing::Values("local", "gloo"));

/// Runs a launcher that starts this program twice, and returns what all printed.
std::string run_launched(const std::string& launcher) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      cat("OMP_NUM_THREADS=1 ", testing::kRoleVariable, "=environment ", launcher, " '", self,
          "' --gtest_filter=RankProcess.DISABLED_Play --gtest_also_run_disabled_tests 2>&1");
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
  if (pipe != nullptr) pclose(pipe);
  return text;
}

bool is_installed(const std::string& program) {
  return std::system(cat("command -v ", program, " >/dev/null 2>&1").c_str()) == 0;
}

void expect_two_ranks(const std::string& text) {
  const std::string digest = cat(" digest ", digest_of_threads(2));
  EXPECT_NE(text.find("rank 0 of 2" + digest), std::string::npos) << text;
  EXPECT_NE(text.find("rank 1 of 2" + digest), std::string::npos) << text;
}

TEST(Launchers, MpirunRanksFindEachOther) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  expect_two_ranks(run_launched("mpirun --allow-run-as-root --oversubscribe -np 2"));
}

TEST(Launchers, TorchrunRanksFindEachOtherAtTheAgentsStore) {
  const char* chosen = std::getenv("TESSERA_TORCHRUN");
  const std::string torchrun = chosen != nullptr ? chosen : "torchrun";
  if (!is_installed(torchrun)) GTEST_SKIP() << "torchrun is not installed (TESSERA_TORCHRUN may name it)";
  expect_two_ranks(run_launched(torchrun + " --standalone --nproc-per-node 2 --no-python"));
}

/// Sets variables for the time of a test; the library itself never changes the environment.
class Variables {
 public:
  explicit Variables(std::initializer_list<std::pair<const char*, const char*>> values) : values_(values) {
    for (const auto& [name, value] : values_) setenv(name, value, 1);
  }
  ~Variables() {
    for (const auto& [name, value] : values_) unsetenv(name);
  }

 private:
  std::vector<std::pair<const char*, const char*>> values_;
};

std::string environment_error() {
  try {
    World::from_environment({.timeout = milliseconds(200)});
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(FromEnvironment, IsOneRankWithoutALauncher) {
  const WorldPtr world = World::from_environment({});
  EXPECT_EQ(world->size(), 1);
  world->everyone()->barrier();
  world->close();
}

TEST(FromEnvironment, SlurmRanksMeetOnTheFirstHostOfTheList) {
  const Variables variables{
      {"SLURM_PROCID", "5"},           {"SLURM_NTASKS", "7"},
      {"SLURM_LOCALID", "1"},          {"SLURM_NODEID", "1"},
      {"SLURM_TASKS_PER_NODE", "4,3"}, {"SLURM_JOB_NODELIST", "nosuch-node[07-09,12],other"},
      {"SLURM_JOB_ID", "77"}};
  const std::string text = environment_error();
  EXPECT_NE(text.find("rank 5 cannot reach rendezvous=tcp://nosuch-node07:2"), std::string::npos) << text;
}

TEST(FromEnvironment, NamesWhatIsMissingOrMalformed) {
  {
    const Variables variables{{"WORLD_SIZE", "2"}};
    EXPECT_EQ(environment_error(), "RANK is not set, although WORLD_SIZE is");
  }
  {
    const Variables variables{{"RANK", "0x"}, {"WORLD_SIZE", "2"}};
    EXPECT_EQ(environment_error(), "RANK=0x is not a number");
  }
  {
    const Variables variables{{"RANK", "2"}, {"WORLD_SIZE", "2"}};
    EXPECT_EQ(environment_error(), "rank=2 is not in a world of 2");
  }
  {
    const Variables variables{{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}};
    EXPECT_EQ(environment_error(),
              "MASTER_ADDR is not set: ranks on several hosts need the address of rank 0's host");
  }
}

}  // namespace
}  // namespace tessera
