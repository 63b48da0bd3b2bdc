// Training checkpoints: any mesh reads any mesh's, a save that dies leaves the older one whole, damage is
// found.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>

#include <nlohmann/json.hpp>

#include "checkpoint/retention.h"
#include "checkpoint/training_checkpoint.h"
#include "checkpoint_group.h"
#include "checkpoint_support.h"
#include "core/crc32c.h"

namespace tessera {
namespace {

struct Mesh3 {
  int tp, shards, replicas;
  int ranks() const { return tp * shards * replicas; }
};

FullTensors state() {
  return {{"model.embed.weight", at::randn({37, 12})},
          {"model.q.weight", at::randn({24, 12}).to(at::kBFloat16)},
          {"model.o.weight", at::randn({12, 25})},
          {"model.norm.weight", at::randn({13})},
          {"optimizer.exp_avg.model.embed.weight", at::randn({37, 12})},
          {"optimizer.steps", at::arange(3)},
          {"wide", at::randn({5, 200'000})}};  // several checksum blocks, rows cut within blocks
}

std::vector<std::string> save(const std::string& directory, const FullTensors& full, const Mesh3& mesh,
                              const std::string& metadata = R"({"step":7})",
                              std::function<void(int, int)> hook = nullptr) {
  return run_ranks(
      mesh.ranks(),
      [&](Group& group) {
        save_checkpoint(directory, shard_tensors(full, group.rank(), mesh.tp, mesh.shards), metadata, group);
      },
      std::move(hook));
}

// Loads on `mesh` and compares every rank's parts bit by bit. Returns what the ranks threw.
std::vector<std::string> load(const std::string& directory, const FullTensors& full, const Mesh3& mesh) {
  return run_ranks(mesh.ranks(), [&](Group& group) {
    const auto expected = shard_tensors(full, group.rank(), mesh.tp, mesh.shards);
    auto mine = expected;
    for (ShardedTensor& tensor : mine) tensor.local = at::full(tensor.box.size, 99, tensor.local.options());
    const std::string metadata = load_checkpoint(directory, mine, group);
    EXPECT_EQ(nlohmann::json::parse(metadata)["step"], 7);
    for (size_t i = 0; i < mine.size(); ++i) {
      EXPECT_TRUE(at::equal(mine[i].local, expected[i].local)) << mine[i].name << " rank " << group.rank();
    }
  });
}

TEST(TrainingCheckpoint, AnyMeshLoadsWhatAnyMeshSaved) {
  const FullTensors full = state();
  const std::vector<Mesh3> meshes{{1, 1, 1}, {1, 4, 1}, {2, 2, 1}, {4, 1, 1},
                                  {1, 3, 1}, {2, 1, 2}, {1, 1, 3}};
  for (const Mesh3& from : meshes) {
    const TempDirectory directory;
    EXPECT_EQ(common_error(save(directory / "c", full, from)), "");
    for (const Mesh3& to : meshes) EXPECT_EQ(common_error(load(directory / "c", full, to)), "");
  }
}

TEST(TrainingCheckpoint, RanksThatOwnNothingWriteNoFile) {
  const TempDirectory directory;
  EXPECT_EQ(common_error(save(directory / "c", {{"w", at::randn({2, 4})}}, {1, 3, 2})), "");
  EXPECT_EQ(names_in(directory / "c"),
            (std::vector<std::string>{"checkpoint.json", "shard-00000-of-00006.safetensors",
                                      "shard-00001-of-00006.safetensors"}));
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"c"});
}

TEST(TrainingCheckpoint, ShardsAreSafetensorsFiles) {
  const TempDirectory directory;
  const FullTensors full = state();
  EXPECT_EQ(common_error(save(directory / "c", full, {1, 2, 1})), "");
  const SafetensorsFile shard(directory / "c/shard-00001-of-00002.safetensors");
  const at::Tensor rows = at::empty({18, 12});
  shard.read(*shard.find("model.embed.weight"), Box::whole({18, 12}), rows);
  EXPECT_TRUE(at::equal(rows, full[0].second.narrow(0, 19, 18)));
}

TEST(TrainingCheckpoint, MetadataComesBack) {
  const TempDirectory directory;
  const std::string metadata =
      R"({"lr":0.1,"data":{"epoch":3,"seed":18446744073709551615},"text":"a\n\u00e9"})";
  EXPECT_EQ(common_error(save(directory / "c", {{"w", at::randn({2})}}, {1, 1, 1}, metadata)), "");
  EXPECT_EQ(nlohmann::json::parse(TrainingCheckpoint(directory / "c").metadata()),
            nlohmann::json::parse(metadata));
  EXPECT_EQ(common_error(save(directory / "d", {{"w", at::randn({2})}}, {1, 2, 1}, "{")),
            "rank 0: metadata is not valid json");
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_NE(common_error(save(directory / "d", {{"w", at::randn({2})}}, {1, 2, 1}, deep)).find("nested"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(directory / "d"));
}

TEST(TrainingCheckpoint, ASaveThatDiesAnywhereLeavesTheOldOneWhole) {
  const TempDirectory directory;
  const FullTensors old_state = state(), new_state = state();
  const Mesh3 mesh{1, 3, 1};
  // together: listing, preparing, writing, indexing, committing; the directories are swapped before the last
  // all-reduce.
  for (int dies_at = 0; dies_at < 5; ++dies_at) {
    EXPECT_EQ(common_error(save(directory / "c", old_state, mesh)), "");
    EXPECT_EQ(common_error(save(directory / "c", new_state, mesh, R"({"step":7})",
                                [&](int, int call) {
                                  if (call == dies_at) throw std::runtime_error("killed");
                                })),
              "killed");
    EXPECT_EQ(common_error(load(directory / "c", dies_at < 4 ? old_state : new_state, mesh)), "");
  }
  EXPECT_EQ(common_error(save(directory / "c", new_state, mesh)), "");
  EXPECT_EQ(common_error(load(directory / "c", new_state, mesh)), "");
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"c"});
}

TEST(TrainingCheckpoint, AFirstSaveThatDiesIsNoCheckpoint) {
  const TempDirectory directory;
  EXPECT_EQ(common_error(save(directory / "checkpoint-5", state(), {1, 2, 1}, "{}",
                              [&](int, int call) {
                                if (call == 2) throw std::runtime_error("killed");
                              })),
            "killed");
  EXPECT_TRUE(list_checkpoints(directory.path()).empty());
  EXPECT_NE(common_error(load(directory / "checkpoint-5", state(), {1, 2, 1})).find("no checkpoint in "),
            std::string::npos);
}

TEST(TrainingCheckpoint, OneRanksFailureIsEveryRanksError) {
  const TempDirectory directory;
  const FullTensors full = state();
  EXPECT_EQ(common_error(save(directory / "c", full, {1, 3, 1})), "");
  // The temporary directory gets a file where rank 1 wants to write its own.
  const std::string message =
      common_error(save(directory / "c", state(), {1, 3, 1}, "{}", [&](int rank, int call) {
        if (rank == 0 && call == 1) write_file(directory / ".c.tmp/shard-00001-of-00003.safetensors", "x");
      }));
  EXPECT_EQ(message.find("rank 1: cannot write "), 0u) << message;
  EXPECT_EQ(common_error(load(directory / "c", full, {1, 2, 1})), "");
  // What had been written would keep a full disk full.
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"c"});
}

TEST(TrainingCheckpoint, TwoJobsNeverWriteIntoOneDirectoryAtATime) {
  const TempDirectory directory;
  const FullTensors mine = state(), theirs = state();
  std::string other;
  EXPECT_EQ(common_error(save(directory / "c", mine, {1, 2, 1}, R"({"step":7})",
                              [&](int rank, int call) {
                                if (rank == 0 && call == 2)
                                  other = common_error(save(directory / "c", theirs, {1, 2, 1}));
                              })),
            "");
  EXPECT_EQ(other, cat("rank 0: another job writes ", std::filesystem::canonical(directory / "c").string(),
                       " at this moment"));
  EXPECT_EQ(common_error(load(directory / "c", mine, {1, 2, 1})), "");
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"c"});
  // The lock's file of a job that was killed keeps nobody out.
  write_file(directory / ".c.lock", "");
  EXPECT_EQ(common_error(save(directory / "c", theirs, {1, 2, 1})), "");
  EXPECT_EQ(common_error(load(directory / "c", theirs, {1, 2, 1})), "");
}

TEST(TrainingCheckpoint, NeverReplacesWhatIsNoCheckpoint) {
  const TempDirectory directory;
  std::filesystem::create_directory(directory / "home");
  write_file(directory / "home/thesis.txt", "x");
  const std::string message = common_error(save(directory / "home", state(), {1, 2, 1}));
  EXPECT_NE(message.find("'thesis.txt', which is not part of a checkpoint"), std::string::npos) << message;
  EXPECT_EQ(file_content(directory / "home/thesis.txt"), "x");
  write_file(directory / "file", "x");
  EXPECT_NE(common_error(save(directory / "file", state(), {1, 2, 1})).find("is not a directory"),
            std::string::npos);
  EXPECT_NE(common_error(save("", state(), {1, 2, 1})).find("no usable name"), std::string::npos);
  EXPECT_NE(common_error(save("/", state(), {1, 2, 1})).find("cannot be a checkpoint directory"),
            std::string::npos);
  // A link stays a link and an empty directory is as good as none.
  std::filesystem::create_directory(directory / "empty");
  std::filesystem::create_directory_symlink("empty", directory / "link");
  const FullTensors full = state();
  EXPECT_EQ(common_error(save(directory / "link/", full, {1, 2, 1})), "");
  EXPECT_TRUE(std::filesystem::is_symlink(directory / "link"));
  EXPECT_EQ(common_error(load(directory / "empty", full, {1, 1, 1})), "");
}

TEST(TrainingCheckpoint, ACheckpointThatWasMovedAsideComesBack) {
  const TempDirectory directory;
  const FullTensors full = state();
  EXPECT_EQ(common_error(save(directory / "c", full, {1, 2, 1})), "");
  std::filesystem::rename(directory / "c", directory / ".c.old");  // where a save without swap may die
  const std::string message = common_error(load(directory / "c", full, {1, 2, 1}));
  EXPECT_NE(message.find("a complete older one is in"), std::string::npos) << message;
  EXPECT_EQ(common_error(save(directory / "c", full, {1, 2, 1}, "{}",
                              [&](int, int call) {
                                if (call == 2) throw std::runtime_error("killed");
                              })),
            "killed");
  EXPECT_EQ(common_error(load(directory / "c", full, {1, 2, 1})), "");
}

TEST(TrainingCheckpoint, EveryDamagedByteIsFound) {
  const TempDirectory directory;
  const FullTensors full{{"a", at::randn({40, 3})}, {"b", at::randn({7})}};
  EXPECT_EQ(common_error(save(directory / "c", full, {1, 2, 1})), "");
  const std::string path = directory / "c/shard-00001-of-00002.safetensors";
  const std::string good = file_content(path);
  const auto header = static_cast<size_t>(8 + static_cast<unsigned char>(good[0]) +
                                          256 * static_cast<unsigned char>(good[1]));
  for (size_t at = header; at < good.size(); at += 5) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(path, bad);
    const std::string message = common_error(load(directory / "c", full, {1, 2, 1}));
    EXPECT_NE(message.find("is damaged: wrong checksum"), std::string::npos) << message;
    EXPECT_EQ(message.find("rank 1: "), 0u) << message;
  }
  write_file(path, good.substr(0, good.size() - 1));
  EXPECT_NE(common_error(load(directory / "c", full, {1, 2, 1})).find("bytes, expected"), std::string::npos);
  std::filesystem::remove(path);
  EXPECT_NE(common_error(load(directory / "c", full, {1, 2, 1})).find("is missing"), std::string::npos);
}

TEST(TrainingCheckpoint, DifferencesBetweenModelAndCheckpointAreErrorsThatChangeNothing) {
  const TempDirectory directory;
  const FullTensors full{{"a.weight", at::randn({4, 3})}, {"b.weight", at::randn({5})}};
  EXPECT_EQ(common_error(save(directory / "c", full, {1, 2, 1})), "");
  const auto tries = [&](const FullTensors& wanted, bool allow_extra = false) {
    return common_error(run_ranks(2, [&](Group& group) {
      auto mine = shard_tensors(wanted, group.rank(), 1, 2);
      for (ShardedTensor& tensor : mine) tensor.local = at::full(tensor.box.size, 99, tensor.local.options());
      LoadOptions options;
      options.allow_extra = allow_extra;
      try {
        load_checkpoint(directory / "c", mine, group, options);
      } catch (const Error&) {
        for (const ShardedTensor& tensor : mine) EXPECT_TRUE(tensor.local.eq(99).all().item<bool>());
        throw;
      }
    }));
  };
  EXPECT_NE(tries({full[0]}).find("has 1 tensors that nothing asks for, first 'b.weight'"),
            std::string::npos);
  EXPECT_EQ(tries({full[0]}, true), "");
  EXPECT_NE(tries({full[0], full[1], {"c.weight", at::randn({5})}}).find("no tensor 'c.weight'"),
            std::string::npos);
  EXPECT_NE(tries({full[0], {"b.weight", at::randn({6})}}).find("has shape [5]"), std::string::npos);
  EXPECT_NE(tries({full[0], {"b.weight", at::arange(5)}}).find("is Float"), std::string::npos);
}

TEST(TrainingCheckpoint, HostileIndexesAreErrors) {
  const TempDirectory directory;
  EXPECT_EQ(common_error(save(directory / "c", {{"w", at::randn({4, 3})}}, {1, 2, 1})), "");
  const std::string path = directory / "c/checkpoint.json";
  const auto good = nlohmann::json::parse(file_content(path));
  const auto code = [&](const std::string& text) {
    write_file(path, text);
    std::string message;
    const Code code = error_code([&] { TrainingCheckpoint checkpoint(directory / "c"); }, &message);
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return code;
  };
  const auto changed = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(pointer)] = value;
    return code(bad.dump());
  };
  EXPECT_EQ(code(good.dump()), Code::ok);
  for (const char* text : {"", "[]", "1", "{", "{}", "null"}) EXPECT_EQ(code(text), Code::format);
  EXPECT_EQ(code(std::string(1'000'000, '[')), Code::format);
  const std::string prefix = good.dump().substr(0, good.dump().size() / 2);
  EXPECT_EQ(code(prefix), Code::format);
  for (const auto& [key, value] : good.items()) {
    nlohmann::json bad = good;
    bad.erase(key);
    EXPECT_EQ(code(bad.dump()), Code::format) << key;
    if (key != "metadata") {
      EXPECT_EQ(changed(("/" + key).c_str(), true), Code::format) << key;
    }
  }
  EXPECT_EQ(changed("/version", 2), Code::format);
  EXPECT_EQ(changed("/block_bytes", 0), Code::format);
  EXPECT_EQ(changed("/block_bytes", int64_t{1} << 60), Code::format);
  EXPECT_EQ(changed("/files/0/name", "../../secret"), Code::format);
  EXPECT_EQ(changed("/files/0/name", "passwd"), Code::format);
  EXPECT_EQ(changed("/files/0/bytes", 3), Code::format);
  EXPECT_EQ(changed("/tensors/w/dtype", "F4"), Code::format);
  EXPECT_EQ(changed("/tensors/w/shape", {4, -3}), Code::format);
  EXPECT_EQ(changed("/tensors/w/shape", {4, 3, 1}), Code::format);
  EXPECT_EQ(changed("/tensors/w/shape", {5, 3}), Code::format);
  EXPECT_EQ(changed("/tensors/w/shape", {int64_t{1} << 40, int64_t{1} << 40}), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts", nlohmann::json::array()), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/file", 2), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/file", -1), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/offset", {1, 0}), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/offset", {INT64_MAX, 0}), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/size", {2, 2}), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/begin", INT64_MAX), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/begin", 1.5), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/crc32c", ""), Code::format);
  EXPECT_EQ(changed("/tensors/w/parts/0/crc32c", "0123456g"), Code::format);
}

TEST(TrainingCheckpoint, RanksThatSeeDifferentCheckpointsAreToldSo) {
  const TempDirectory directory;
  const FullTensors full{{"w", at::randn({4, 3})}};
  EXPECT_EQ(common_error(save(directory / "0", full, {1, 2, 1})), "");
  EXPECT_EQ(common_error(save(directory / "1", {{"w", at::randn({4, 3})}}, {1, 2, 1})), "");
  const auto errors = run_ranks(2, [&](Group& group) {
    load_checkpoint(directory / std::to_string(group.rank()), shard_tensors(full, group.rank(), 1, 2), group);
  });
  for (const std::string& error : errors)
    EXPECT_EQ(error.find("rank 1 sees another checkpoint"), 0u) << error;
}

TEST(TrainingCheckpoint, AsyncSaveKeepsTheValuesOfItsCall) {
  const TempDirectory directory;
  const FullTensors full = state();
  EXPECT_EQ(common_error(run_ranks(2,
                                   [&](Group& group) {
                                     auto mine = shard_tensors(full, group.rank(), 1, 2);
                                     const GroupPtr alone(&group, [](Group*) {});
                                     const auto save =
                                         save_checkpoint_async(directory / "c", mine, R"({"step":7})", alone);
                                     for (ShardedTensor& tensor : mine) tensor.local.zero_();
                                     save->wait();
                                     EXPECT_TRUE(save->done());
                                     save->wait();
                                   })),
            "");
  EXPECT_EQ(common_error(load(directory / "c", full, {1, 3, 1})), "");
  write_file(directory / "file", "x");
  const auto errors = run_ranks(2, [&](Group& group) {
    const GroupPtr alone(&group, [](Group*) {});
    save_checkpoint_async(directory / "file", shard_tensors(full, group.rank(), 1, 2), "{}", alone)->wait();
  });
  EXPECT_NE(common_error(errors).find("is not a directory"), std::string::npos);
}

TEST(CheckpointRetention, KeepsTheNewestAndPassesOverDamage) {
  const TempDirectory directory;
  const FullTensors full{{"w", at::randn({4, 3})}};
  const auto newest = [&] {
    int64_t step = -1;
    EXPECT_EQ(common_error(run_ranks(2,
                                     [&](Group& group) {
                                       const auto found = newest_checkpoint(directory.path(), group);
                                       if (group.rank() == 1 && found) step = found->step;
                                     })),
              "");
    return step;
  };
  EXPECT_EQ(newest(), -1);
  EXPECT_TRUE(list_checkpoints(directory / "absent").empty());
  for (int64_t step : {5, 10, 9, 100}) {
    EXPECT_EQ(common_error(save(checkpoint_directory(directory.path(), step), full, {1, 2, 1})), "");
  }
  std::filesystem::create_directory(directory / "checkpoint-200");
  std::filesystem::create_directory(directory / "checkpoint-007");
  write_file(directory / "checkpoint-007/checkpoint.json", "{}");
  EXPECT_EQ(newest(), 100);
  std::filesystem::resize_file(directory / "checkpoint-100/shard-00001-of-00002.safetensors", 3);
  EXPECT_EQ(newest(), 10);
  EXPECT_EQ(prune_checkpoints(directory.path(), 2), 2);
  const auto left = list_checkpoints(directory.path());
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].step, 10);
  EXPECT_EQ(prune_checkpoints(directory.path(), 2), 0);
  EXPECT_EQ(error_code([&] { prune_checkpoints(directory.path(), 0); }), Code::argument);
  // A checkpoint directory with something else in it is not removed.
  write_file(directory / "checkpoint-10/notes.txt", "x");
  EXPECT_EQ(error_code([&] { prune_checkpoints(directory.path(), 1); }), Code::argument);
  EXPECT_TRUE(std::filesystem::exists(directory / "checkpoint-10/checkpoint.json"));
}

TEST(Crc32c, MatchesThePublishedValuesAndItsOwnTables) {
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283u);  // RFC 3720 appendix B.4 for the rest
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff').data(), 32), 0x62a8ab43u);
  const at::Tensor noise = at::randn({1000});
  const char* bytes = static_cast<const char*>(noise.const_data_ptr());
  for (size_t n : {0, 1, 7, 8, 9, 63, 1000, 3999}) {
    const uint32_t whole = crc32c(bytes, n);
    EXPECT_EQ(crc32c_portable(bytes, n), whole);
    EXPECT_EQ(crc32c(bytes + n / 3, n - n / 3, crc32c(bytes, n / 3)), whole);
  }
}

}  // namespace
}  // namespace tessera
