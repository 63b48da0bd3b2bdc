// Host memory while loading and saving: a rank needs its own part and little more, whatever the size of the
// files.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <malloc.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "checkpoint/export.h"
#include "checkpoint/training_checkpoint.h"
#include "checkpoint_group.h"
#include "checkpoint_support.h"

namespace tessera {
namespace {

// Bytes of /proc/self/status, or -1 where there is none.
int64_t process_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field + ":", 0) == 0) return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  return -1;
}

// Highest resident set of this process during `body`, above what it was before.
int64_t peak_growth(const std::function<void()>& body) {
  ::malloc_trim(0);                               // what earlier tests freed would hide what this one takes
  std::ofstream("/proc/self/clear_refs") << "5";  // resets VmHWM
  const int64_t before = process_bytes("VmRSS");
  if (before < 0 || process_bytes("VmHWM") > before + (4 << 20)) return -1;  // no such control here
  body();
  return process_bytes("VmHWM") - before;
}

constexpr int64_t kMegabyte = 1 << 20;
constexpr int kShards = 4;
constexpr int64_t kRows = 1024, kColumns = 1024;  // 2 MB in bfloat16
// Staging and a read window take 2 MB; the rest is slack of the allocator and code pages touched for the
// first time.
constexpr int64_t kSlack = 10 * kMegabyte;

FullTensors large_model(int tensors, at::ScalarType dtype) {
  FullTensors full;
  for (int i = 0; i < tensors; ++i) {
    full.emplace_back(cat("layers.", i, ".weight"), at::full({kRows, kColumns}, 0.5 + i, dtype));
  }
  return full;
}

#define SKIP_WITHOUT_PEAK(bytes) \
  if ((bytes) < 0) GTEST_SKIP() << "this system does not let a process reset its peak resident set"

TEST(CheckpointMemory, LoadingTakesTheShardAndNotTheFile) {
  constexpr int kTensors = 24;
  constexpr int64_t kFileBytes = kTensors * kRows * kColumns * 2;
  const TempDirectory directory;
  write_safetensors(directory / "model.safetensors", large_model(kTensors, at::kBFloat16));
  at::set_num_threads(1);  // no stacks and buffers of a thread pool in the figures
  {
    const at::Tensor warm_up =
        at::empty({1, 1});  // code pages that are touched for the first time count as well
    const CheckpointReader reader(directory.path());
    reader.read(reader.names()[0], {kRows, kColumns}, {{0, 0}, {1, 1}}, warm_up);
  }
  for (const bool columns : {false, true}) {
    const Box box =
        columns ? Box{{0, 256}, {kRows, kColumns / kShards}} : Box{{256, 0}, {kRows / kShards, kColumns}};
    std::vector<at::Tensor> shard;
    const int64_t shard_bytes = kTensors * box.numel() * int64_t{4};
    const int64_t peak = peak_growth([&] {
      const CheckpointReader reader(directory.path());
      for (const std::string& name : reader.names()) {
        shard.push_back(at::empty(box.size, at::kFloat));
        reader.read(name, {kRows, kColumns}, box, shard.back());
      }
    });
    SKIP_WITHOUT_PEAK(peak);
    EXPECT_LE(peak, shard_bytes + kSlack) << (columns ? "columns" : "rows");
    std::printf("file %.0f MB, shard %.0f MB in float32, peak %.1f MB\n", 1e-6 * kFileBytes,
                1e-6 * shard_bytes, 1e-6 * peak);
    EXPECT_EQ(shard.back()[0][0].item<float>(), 9.5f);  // layers.9 is the last name
  }
}

TEST(CheckpointMemory, SavingExportingAndReshardingNeedStagingOnly) {
  const TempDirectory directory;
  constexpr int kTensors = 16;
  const FullTensors full = large_model(kTensors, at::kFloat);
  std::vector<std::vector<ShardedTensor>> held(kShards);
  for (int rank = 0; rank < kShards; ++rank) held[rank] = shard_tensors(full, rank, 1, kShards);
  const auto all_ranks = [&](const std::function<void(Group&)>& body) {
    int64_t peak = 0;
    peak = peak_growth([&] { EXPECT_EQ(common_error(run_ranks(kShards, body)), ""); });
    return peak;
  };
  const int64_t saving =
      all_ranks([&](Group& group) { save_checkpoint(directory / "c", held[group.rank()], "{}", group); });
  SKIP_WITHOUT_PEAK(saving);
  ExportOptions options;
  options.dtype = at::kBFloat16;
  const int64_t exporting =
      all_ranks([&](Group& group) { export_hf(directory / "hf", held[group.rank()], options, group); });
  for (int rank = 0; rank < kShards; ++rank) held[rank] = shard_tensors(full, rank, 2, kShards / 2);
  const int64_t resharding =
      all_ranks([&](Group& group) { load_checkpoint(directory / "c", held[group.rank()], group); });
  std::printf("4 ranks, %.0f MB: saving +%.1f MB, exporting +%.1f MB, loading on another mesh +%.1f MB\n",
              4e-6 * kTensors * kRows * kColumns, 1e-6 * saving, 1e-6 * exporting, 1e-6 * resharding);
  // Resharding may hold one part of one tensor a rank, at most 2 MB here.
  EXPECT_LE(saving, kShards * kSlack);
  EXPECT_LE(exporting, kShards * kSlack);
  EXPECT_LE(resharding, kShards * kSlack);
}

}  // namespace
}  // namespace tessera
