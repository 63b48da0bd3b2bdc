// A process that is killed at any moment of a save leaves a whole checkpoint: the one before or the new one.
#include <ATen/ops/full.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "checkpoint/export.h"
#include "checkpoint/training_checkpoint.h"
#include "checkpoint_group.h"
#include "checkpoint_support.h"

extern char** environ;

namespace tessera {
namespace {

constexpr const char* kDirectoryVariable = "TESSERA_TEST_KILL_DIRECTORY";
constexpr int kRanks = 3;

// Every element is the version, so that a mixture of two versions shows.
FullTensors version_of_state(int64_t version) {
  FullTensors full;
  for (int i = 0; i < 6; ++i) {
    full.emplace_back(cat("w", i), at::full({64, 1000}, static_cast<double>(version), at::kFloat));
  }
  return full;
}

// Not a test of its own: what the killed process does. Saves and exports version after version until it dies.
TEST(CheckpointKill, DISABLED_SavesUntilKilled) {
  const char* directory = std::getenv(kDirectoryVariable);
  if (!directory) GTEST_SKIP() << "run by CheckpointKill.LeavesAWholeCheckpoint only";
  const auto errors = run_ranks(kRanks, [&](Group& group) {
    for (int64_t version = 1;; ++version) {
      const auto mine = shard_tensors(version_of_state(version), group.rank(), 1, kRanks);
      save_checkpoint(cat(directory, "/c"), mine, cat("{\"version\":", version, "}"), group);
      export_hf(cat(directory, "/hf"), mine, {}, group);
    }
  });
  FAIL() << common_error(errors);
}

pid_t start_saver(const std::string& directory) {
  ::setenv(kDirectoryVariable, directory.c_str(), 1);
  std::string filter = "--gtest_filter=CheckpointKill.DISABLED_SavesUntilKilled";
  std::string disabled = "--gtest_also_run_disabled_tests", name = "saver";
  char* arguments[] = {name.data(), filter.data(), disabled.data(), nullptr};
  posix_spawn_file_actions_t quiet;
  ::posix_spawn_file_actions_init(&quiet);
  ::posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  EXPECT_EQ(::posix_spawn(&child, "/proc/self/exe", &quiet, nullptr, arguments, environ), 0);
  ::posix_spawn_file_actions_destroy(&quiet);
  return child;
}

// The version that all of the checkpoint has.
int64_t loaded_version(const std::string& directory) {
  int64_t version = -1;
  EXPECT_EQ(common_error(run_ranks(1,
                                   [&](Group& group) {
                                     auto mine = shard_tensors(version_of_state(-1), 0, 1, 1);
                                     const auto metadata =
                                         nlohmann::json::parse(load_checkpoint(directory, mine, group));
                                     version = metadata["version"].get<int64_t>();
                                     for (const ShardedTensor& tensor : mine) {
                                       EXPECT_TRUE(tensor.local.eq(version).all().item<bool>())
                                           << tensor.name;
                                     }
                                   })),
            "");
  return version;
}

int64_t exported_version(const std::string& directory) {
  const CheckpointReader reader(directory);
  EXPECT_EQ(reader.names().size(), 6u);
  double version = -1;
  for (const std::string& name : reader.names()) {
    const at::Tensor out = at::full({64, 1000}, -1, at::kFloat);
    reader.read(name, {64, 1000}, Box::whole({64, 1000}), out);
    if (version < 0) version = out[0][0].item<double>();
    EXPECT_TRUE(out.eq(version).all().item<bool>()) << name;
  }
  return static_cast<int64_t>(version);
}

TEST(CheckpointKill, LeavesAWholeCheckpoint) {
  const TempDirectory directory;
  for (int round = 0; round < 8; ++round) {
    std::filesystem::remove_all(directory / "c");
    std::filesystem::remove_all(directory / "hf");
    const pid_t child = start_saver(directory.path());
    ASSERT_GT(child, 0);
    // From the first whole export on there is something to lose.
    for (int i = 0; i < 6000 && !std::filesystem::exists(directory / "hf/model.safetensors"); ++i) {
      ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "the saving process ended by itself";
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(7'919 * round));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    const int64_t saved = loaded_version(directory / "c"), exported = exported_version(directory / "hf");
    EXPECT_GE(saved, 1);
    // The export follows the save of the same version.
    EXPECT_TRUE(exported == saved || exported == saved - 1) << saved << " " << exported;
  }
  // What the last one left behind does not hinder the next save.
  EXPECT_EQ(common_error(run_ranks(
                2,
                [&](Group& group) {
                  save_checkpoint(directory / "c", shard_tensors(version_of_state(1000), group.rank(), 1, 2),
                                  R"({"version":1000})", group);
                })),
            "");
  EXPECT_EQ(loaded_version(directory / "c"), 1000);
  EXPECT_FALSE(std::filesystem::exists(directory / ".c.tmp"));
}

}  // namespace
}  // namespace tessera
