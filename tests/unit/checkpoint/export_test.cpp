// Hugging Face export: every mesh writes the same files, failures leave the old export whole and reach all
// ranks.
#include "checkpoint/export.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>

#include <nlohmann/json.hpp>

#include "checkpoint_group.h"
#include "checkpoint_support.h"

namespace tessera {
namespace {

FullTensors model() {
  return {{"model.embed_tokens.weight", at::randn({37, 12})},
          {"model.layers.0.q_proj.weight", at::randn({24, 12})},
          {"model.layers.0.o_proj.weight", at::randn({12, 25})},
          {"model.layers.0.norm.weight", at::randn({13})},
          {"model.layers.0.counts", at::arange(3)},
          {"model.norm.weight", at::randn({1})}};
}

std::vector<std::string> export_model(const std::string& directory, const FullTensors& full, int tp,
                                      int shards, int replicas, const ExportOptions& options) {
  return run_ranks(tp * shards * replicas, [&](Group& group) {
    export_hf(directory, shard_tensors(full, group.rank(), tp, shards), options, group);
  });
}

void expect_weights(const std::string& directory, const FullTensors& full,
                    std::optional<at::ScalarType> dtype = {}) {
  const CheckpointReader reader(directory);
  EXPECT_EQ(reader.names().size(), full.size());
  for (const auto& [name, tensor] : full) {
    const at::Tensor expected = dtype && tensor.is_floating_point() ? tensor.to(*dtype) : tensor;
    EXPECT_EQ(reader.entry(name).dtype, expected.scalar_type());
    const at::Tensor out = at::empty(tensor.sizes(), expected.scalar_type());
    reader.read(name, tensor.sizes().vec(), Box::whole(tensor.sizes().vec()), out);
    EXPECT_TRUE(at::equal(out, expected)) << name;
  }
}

TEST(Export, EveryMeshWritesTheSameFile) {
  const FullTensors full = model();
  std::string first;
  for (const auto& [tp, shards, replicas] :
       {std::tuple{1, 1, 1}, {1, 4, 1}, {2, 2, 1}, {4, 1, 1}, {2, 3, 1}, {2, 2, 2}, {1, 1, 2}}) {
    const TempDirectory directory;
    EXPECT_EQ(common_error(export_model(directory.path(), full, tp, shards, replicas, {})), "");
    EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model.safetensors"});
    expect_weights(directory.path(), full);
    const std::string bytes = file_content(directory / "model.safetensors");
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first) << "tp=" << tp << " shards=" << shards << " replicas=" << replicas;
  }
}

TEST(Export, ConvertsWhileWriting) {
  const TempDirectory directory;
  FullTensors full = model();
  full.emplace_back("big", at::randn({300, 2500}));  // more than one staging buffer
  ExportOptions options;
  options.dtype = at::kBFloat16;
  options.config_json = R"({"model_type":"llama","dtype":"float32","vocab_size":37})";
  EXPECT_EQ(common_error(export_model(directory.path(), full, 2, 2, 1, options)), "");
  expect_weights(directory.path(), full, at::kBFloat16);
  const auto config = nlohmann::json::parse(file_content(directory / "config.json"));
  EXPECT_EQ(config["dtype"], "bfloat16");
  EXPECT_EQ(config["vocab_size"], 37);
}

TEST(Export, SplitsIntoFilesWithAnIndex) {
  const TempDirectory directory;
  const FullTensors full = model();
  ExportOptions options;
  options.max_shard_bytes = 2000;
  EXPECT_EQ(common_error(export_model(directory.path(), full, 1, 3, 1, options)), "");
  EXPECT_EQ(names_in(directory.path()),
            (std::vector<std::string>{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                      "model-00003-of-00003.safetensors", "model.safetensors.index.json"}));
  expect_weights(directory.path(), full);
  const auto index = nlohmann::json::parse(file_content(directory / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], (37 * 12 + 24 * 12 + 12 * 25 + 13 + 1) * 4 + 3 * 8);
}

TEST(Export, PlansFilesLikeTheHub) {
  const auto entry = [](const char* name, int64_t n) { return TensorEntry{name, at::kFloat, {n}}; };
  const auto files =
      plan_export({entry("a", 2), entry("b", 3), entry("c", 100), entry("d", 0), entry("e", 5)}, 20);
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].entries.size(), 2u);
  EXPECT_EQ(files[0].data_bytes, 20);
  EXPECT_EQ(files[1].entries[0].name, "c");
  EXPECT_EQ(files[2].name, "model-00003-of-00003.safetensors");
  EXPECT_EQ(plan_export({}, 1).size(), 1u);
  EXPECT_EQ(error_code([&] { plan_export({}, 0); }), Code::argument);
}

TEST(Export, CopiesTokenizerFilesAndKeepsForeignOnes) {
  const TempDirectory source, target;
  write_file(source / "tokenizer.json", "{\"t\":1}");
  write_file(source / "chat_template.jinja", "x");
  write_file(source / "model.safetensors", "not copied");
  write_file(source / "secrets.txt", "not copied");
  write_file(target / "README.md", "mine");
  ExportOptions options;
  options.source_directory = source.path();
  EXPECT_EQ(common_error(export_model(target.path(), model(), 1, 2, 1, options)), "");
  EXPECT_EQ(names_in(target.path()), (std::vector<std::string>{"README.md", "chat_template.jinja",
                                                               "model.safetensors", "tokenizer.json"}));
  EXPECT_EQ(file_content(target / "tokenizer.json"), "{\"t\":1}");
  EXPECT_EQ(file_content(target / "README.md"), "mine");
}

TEST(Export, ReplacesAnOlderExportOfAnotherLayout) {
  const TempDirectory directory;
  ExportOptions split;
  split.max_shard_bytes = 1000;
  for (const bool several : {true, false, true, true}) {
    const FullTensors full = model();
    EXPECT_EQ(common_error(export_model(directory.path(), full, 1, 2, 1, several ? split : ExportOptions{})),
              "");
    expect_weights(directory.path(), full);
    EXPECT_EQ(std::filesystem::exists(directory / "model.safetensors"), !several);
    EXPECT_EQ(std::filesystem::exists(directory / "model.safetensors.index.json"), several);
  }
}

TEST(Export, AnExportThatDiesAnywhereLeavesTheOldOneWholeAndTheNextOneWorks) {
  const TempDirectory directory;
  const FullTensors old_model = model(), new_model = model();
  ExportOptions options;
  options.max_shard_bytes = 2000;
  for (int dies_at = 0; dies_at < 5; ++dies_at) {
    EXPECT_EQ(common_error(export_model(directory.path(), old_model, 1, 3, 1, options)), "");
    // Not a tessera::Error: nothing cleans up after it, as after a kill.
    const auto errors = run_ranks(
        3,
        [&](Group& group) {
          export_hf(directory.path(), shard_tensors(new_model, group.rank(), 1, 3), options, group);
        },
        [&](int, int call) {
          if (call == dies_at) throw std::runtime_error("killed");
        });
    EXPECT_EQ(common_error(errors), "killed");
    // The last all-reduce comes after the renames.
    expect_weights(directory.path(), dies_at < 4 ? old_model : new_model);
  }
  EXPECT_EQ(common_error(export_model(directory.path(), new_model, 1, 1, 1, {})), "");
  expect_weights(directory.path(), new_model);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model.safetensors"});
}

TEST(Export, OneRanksFailureIsEveryRanksErrorAndNamesIt) {
  const TempDirectory directory;
  const FullTensors old_model = model();
  EXPECT_EQ(common_error(export_model(directory.path(), old_model, 1, 1, 1, {})), "");
  // Two files; rank 2 alone writes the second one, which disappears before it does.
  const at::Tensor a = at::randn({4, 4}), b = at::randn({4, 4});
  const auto errors = run_ranks(
      3,
      [&](Group& group) {
        ExportOptions options;
        options.max_shard_bytes = 64;
        const bool second = group.rank() == 2;
        const std::vector<ShardedTensor> mine{
            {second ? "b" : "a", {4, 4}, Box::whole({4, 4}), second ? b : a, group.rank() != 1}};
        export_hf(directory.path(), mine, options, group);
      },
      [&](int rank, int call) {
        // Rank 1 has made the second file itself, so it is there, and rank 2 waits for the others to say so.
        if (rank == 1 && call == 2) {
          EXPECT_TRUE(
              std::filesystem::remove(directory / ".tessera-export/model-00002-of-00002.safetensors"));
        }
      });
  const std::string message = common_error(errors);
  EXPECT_EQ(message.find("rank 2: cannot write "), 0u) << message;
  expect_weights(directory.path(), old_model);
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"model.safetensors"});
}

TEST(Export, BadTensorListsAreTheSameErrorOnAllRanks) {
  const TempDirectory directory;
  const at::Tensor full = at::randn({4, 2});
  const auto run = [&](const std::function<std::vector<ShardedTensor>(int)>& list) {
    return common_error(
        run_ranks(2, [&](Group& group) { export_hf(directory / "x", list(group.rank()), {}, group); }));
  };
  const auto rows = [&](int64_t first, int64_t count, bool owner = true) {
    return ShardedTensor{"w", {4, 2}, {{first, 0}, {count, 2}}, full.narrow(0, first, count), owner};
  };
  EXPECT_EQ(run([&](int rank) { return std::vector{rows(rank, 2)}; }),
            "tensor 'w': ranks 0 and 1 both own a part of it");
  EXPECT_EQ(run([&](int rank) { return std::vector{rows(2 * rank, 2, rank == 0)}; }),
            "tensor 'w': 4 of 8 elements have an owner");
  EXPECT_EQ(run([&](int rank) { return std::vector{rows(0, 4)}; }),
            "tensor 'w': parts have 16 elements, the tensor 8");
  EXPECT_EQ(run([&](int rank) {
              auto part = rows(2 * rank, 2);
              if (rank == 1) part.global_shape = {5, 2};
              return std::vector{part};
            }),
            "tensor 'w' has shape [5, 2] on group rank 1 and [4, 2] before it");
  EXPECT_EQ(run([&](int rank) {
              auto part = rows(2 * rank, 2);
              if (rank == 1) part.local = at::randn({2, 3});
              return std::vector{part};
            }),
            "rank 1: tensor 'w': the local part has shape [2, 3], its box [2, 2]");
  EXPECT_EQ(run([&](int rank) { return std::vector{rows(2 * rank, 2), rows(2 * rank, 2)}; }),
            "rank 0: tensor 'w' is listed twice");
  EXPECT_FALSE(std::filesystem::exists(directory / "x"));
}

TEST(Export, BadOptionsAreErrors) {
  const TempDirectory directory;
  ExportOptions options;
  options.config_json = "{";
  EXPECT_EQ(common_error(export_model(directory / "x", model(), 1, 2, 1, options)),
            "rank 0: config_json is not valid json");
  options = {};
  options.max_shard_bytes = -1;
  EXPECT_EQ(common_error(export_model(directory / "x", model(), 1, 2, 1, options)),
            "rank 0: max_shard_bytes=-1 is not positive");
  write_file(directory / "file", "x");
  EXPECT_NE(common_error(export_model(directory / "file", model(), 1, 2, 1, {})).find("file"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
