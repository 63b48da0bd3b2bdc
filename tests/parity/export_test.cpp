// Exports load in transformers without a missing or unexpected weight, and come back from it byte for byte.
#include "checkpoint/export.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "mesh/device_mesh.h"
#include "parity/reference.h"
#include "support/rank_threads.h"
#include "train/trainer.h"

namespace tessera::testing {
namespace {

std::string shell_output(const std::string& command, int* status) {
  std::string out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  for (char buffer[512]; std::fgets(buffer, sizeof buffer, pipe);) out += buffer;
  *status = ::pclose(pipe);
  return out;
}

at::Tensor read_whole(const CheckpointReader& reader, const std::string& name) {
  const TensorEntry& entry = reader.entry(name);
  const at::Tensor out = at::empty(entry.shape, entry.dtype);
  reader.read(name, entry.shape, Box::whole(entry.shape), out);
  return out;
}

// The rows of `full` that one of `ranks` FSDP shards holds.
ShardedTensor shard_of(const std::string& name, const at::Tensor& full, int rank, int ranks) {
  ParamSpec spec;
  spec.shape = full.sizes().vec();
  const Box box = owned_box(spec, 0, 1, rank, ranks);
  return {name, spec.shape, box, full.narrow(0, box.offset[0], box.size[0])};
}

TEST(ExportParity, TransformersLoadsEveryExportAndSavesTheSameBytes) {
  if (reference_cases().empty()) GTEST_SKIP() << "no reference: a Python with transformers is needed";
  int status = 0;
  const std::string root = TESSERA_SOURCE_DIR;
  std::string python = shell_output(root + "/tests/support/make_venv.sh --existing", &status);
  if (status != 0) GTEST_SKIP() << python;
  python.pop_back();

  std::string pattern = ::testing::TempDir() + "/tessera_export_XXXXXX";
  const std::string work = ::mkdtemp(pattern.data());
  for (const std::string& name : reference_cases()) {
    const std::string source = std::string(TESSERA_PARITY_REFERENCE) + "/" + name;
    const CheckpointReader reader(source);
    std::stringstream config;
    config << std::ifstream(source + "/config.json").rdbuf();
    run_ranks(3, [&](const WorldPtr& world) {
      std::vector<ShardedTensor> mine;
      for (const std::string& tensor : reader.names()) {
        mine.push_back(shard_of(tensor, read_whole(reader, tensor), world->rank(), world->size()));
      }
      ExportOptions options;
      options.config_json = config.str();
      options.dtype = at::kBFloat16;
      options.max_shard_bytes = 20'000;  // several files even for these sizes
      export_hf(work + "/" + name + "/exported", mine, options, *world->everyone());
    });
  }
  const std::string said = shell_output(
      "HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 " + python + " " + root + "/tests/parity/reload_export.py " + work,
      &status);
  ASSERT_EQ(status, 0) << said;
  for (const std::string& name : reference_cases()) {
    const CheckpointReader exported(work + "/" + name + "/exported"), saved(work + "/" + name + "/saved");
    EXPECT_TRUE(std::filesystem::exists(work + "/" + name + "/exported/model.safetensors.index.json"))
        << name;
    for (const std::string& tensor : saved.names()) {
      EXPECT_TRUE(at::equal(read_whole(saved, tensor), read_whole(exported, tensor)))
          << name << " " << tensor;
    }
    EXPECT_EQ(saved.names(), exported.names()) << name;
  }
  std::filesystem::remove_all(work);
}

/// The same as a transformers checkpoint with dequantized experts: on a mesh with ep, and in an export from
/// there.
TEST(ExportParity, Mxfp4ExpertsAreReadAsTransformersDequantizesThem) {
  const std::string dense = std::string(TESSERA_PARITY_REFERENCE) + "/gpt_oss_mxfp4";
  if (reference_cases().empty()) GTEST_SKIP() << "no reference: a Python with transformers is needed";
  std::string pattern = ::testing::TempDir() + "/tessera_mxfp4_XXXXXX";
  const std::string exported = std::string(::mkdtemp(pattern.data())) + "/exported";
  const CheckpointReader expected(dense);
  for (const bool from_rank0 : {true, false}) {
    run_ranks(4, [&](const WorldPtr& world) {
      TrainerOptions options;
      options.precision = {at::kFloat, at::kFloat, at::kFloat, at::kFloat};
      options.load_from_rank0 = from_rank0;
      const auto mesh = std::make_shared<DeviceMesh>(world, MeshSpec{1, 1, 2, 1, 2, 2});
      Trainer trainer(mesh, load_model_config(dense + "/mxfp4"), dense + "/mxfp4", options);
      trainer.export_hf(exported, std::nullopt);
    });
    const CheckpointReader written(exported);
    EXPECT_EQ(written.names(), expected.names());
    for (const std::string& name : expected.names()) {
      EXPECT_TRUE(at::equal(read_whole(written, name), read_whole(expected, name))) << name;
    }
  }
  std::stringstream config;
  config << std::ifstream(exported + "/config.json").rdbuf();
  EXPECT_EQ(config.str().find("quantization_config"), std::string::npos) << config.str();
  std::filesystem::remove_all(std::filesystem::path(exported).parent_path());
}

}  // namespace
}  // namespace tessera::testing
