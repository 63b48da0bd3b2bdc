// Parameters that are slices of a checkpoint's tensors are read from there, and put together again by every
// mesh into the tensors they came from.
#include "checkpoint/stored.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include "checkpoint/export.h"
#include "checkpoint_group.h"
#include "checkpoint_support.h"

namespace tessera {
namespace {

ParamSpec parameter(const std::string& name, std::vector<int64_t> shape, StoredSlice stored) {
  ParamSpec spec;
  spec.name = name;
  spec.shape = std::move(shape);
  spec.tp = Placement::shard(0);
  spec.stored = std::move(stored);
  return spec;
}

// A fused projection of 12, 4 and 4 rows, and two experts of 6 rows whose gates and ups take turns along the
// columns of a stack [2, 5, 12] that holds them transposed.
std::vector<ParamSpec> parameters() {
  std::vector<ParamSpec> specs;
  int64_t first = 0;
  for (const auto& [name, rows] : {std::pair{"q", 12}, {"k", 4}, {"v", 4}}) {
    specs.push_back(parameter(name, {rows, 7}, StoredSlice::rows_of("qkv", {rows, 7}, 20, first)));
    first += rows;
  }
  for (const int64_t expert : {0, 1}) {
    for (const int64_t turn : {0, 1}) {
      specs.push_back(parameter(cat("expert", expert, turn ? "up" : "gate"), {6, 5},
                                {"experts", {2, 5, 12}, {expert, 0, turn}, {2, 1}, {2, 1}}));
    }
  }
  ParamSpec plain;
  plain.name = "norm";
  plain.shape = {5};
  specs.push_back(plain);
  return specs;
}

std::vector<std::pair<std::string, at::Tensor>> checkpoint() {
  return {{"qkv", at::arange(140, at::kFloat).view({20, 7})},
          {"experts", at::arange(120, at::kFloat).add(1000).view({2, 5, 12})},
          {"norm", at::arange(5, at::kFloat)}};
}

ParameterPart read_part(const CheckpointReader& reader, const ParamSpec& spec, int rank, int tp, int shards) {
  ShardedTensor part{spec.name, spec.shape, owned_box(spec, rank % tp, tp, rank / tp, shards), {}};
  part.local = at::empty(part.box.size, at::kFloat);
  part.owner = rank % tp % spec.tp.copies(tp) == 0;
  read_parameter(reader, spec, part.box, part.local);
  return {&spec, part};
}

TEST(StoredSlices, AreReadFromTheTensorsThatHoldThem) {
  const TempDirectory directory;
  write_safetensors(directory / "model.safetensors", checkpoint());
  const CheckpointReader reader(directory.path());
  const std::vector<ParamSpec> specs = parameters();
  const auto full = checkpoint();
  const auto whole = [&](int i) { return read_part(reader, specs[i], 0, 1, 1).tensor.local; };
  EXPECT_TRUE(at::equal(whole(0), full[0].second.narrow(0, 0, 12)));
  EXPECT_TRUE(at::equal(whole(2), full[0].second.narrow(0, 16, 4)));
  EXPECT_TRUE(at::equal(whole(6), full[1].second[1].t().slice(0, 1, 12, 2)));
  const Box part{{2, 1}, {3, 2}};
  const at::Tensor out = at::empty({3, 2});
  read_parameter(reader, specs[6], part, out);
  EXPECT_TRUE(at::equal(out, whole(6).narrow(0, 2, 3).narrow(1, 1, 2)));
}

TEST(StoredSlices, EveryMeshExportsTheTensorsTheyWereReadFrom) {
  const TempDirectory source;
  write_safetensors(source / "model.safetensors", checkpoint());
  const CheckpointReader reader(source.path());
  const std::vector<ParamSpec> specs = parameters();
  for (const auto& [tp, shards] : {std::pair{1, 1}, {1, 4}, {2, 1}, {2, 3}, {4, 2}, {1, 7}}) {
    SCOPED_TRACE(cat("tp=", tp, " shards=", shards));
    const TempDirectory directory;
    std::vector<std::vector<ShardedTensor>> of_rank;
    for (int rank = 0; rank < tp * shards; ++rank) {
      std::vector<ParameterPart> parts;
      for (const ParamSpec& spec : specs) parts.push_back(read_part(reader, spec, rank, tp, shards));
      of_rank.push_back(stored_parts(parts));
    }
    const auto errors = run_ranks(
        tp * shards, [&](Group& group) { export_hf(directory.path(), of_rank[group.rank()], {}, group); });
    EXPECT_EQ(common_error(errors), "");
    const CheckpointReader written(directory.path());
    EXPECT_EQ(written.names(), reader.names());
    for (const auto& [name, tensor] : checkpoint()) {
      const at::Tensor out = at::empty(tensor.sizes());
      written.read(name, tensor.sizes().vec(), Box::whole(tensor.sizes().vec()), out);
      EXPECT_TRUE(at::equal(out, tensor)) << name;
    }
  }
}

TEST(StoredSlices, OnesThatDoNotFitAndMissingTurnsAreErrors) {
  const TempDirectory directory;
  write_safetensors(directory / "model.safetensors", checkpoint());
  const CheckpointReader reader(directory.path());
  const ParamSpec outside = parameter("q", {12, 7}, StoredSlice::rows_of("qkv", {12, 7}, 20, 9));
  std::string message;
  EXPECT_EQ(error_code([&] { read_part(reader, outside, 0, 1, 1); }, &message), Code::internal);
  EXPECT_EQ(message, "a parameter does not lie inside qkv of the checkpoint");
  const ParamSpec other = parameter("q", {12, 7}, StoredSlice::rows_of("qkv", {12, 7}, 24, 0));
  EXPECT_EQ(error_code([&] { read_part(reader, other, 0, 1, 1); }, &message), Code::format);
  EXPECT_NE(message.find("qkv"), std::string::npos) << message;
  const std::vector<ParamSpec> specs = parameters();
  const std::vector<ParameterPart> gates = {read_part(reader, specs[3], 0, 1, 1),
                                            read_part(reader, specs[5], 0, 1, 1)};
  EXPECT_EQ(error_code([&] { stored_parts(gates); }, &message), Code::internal);
  EXPECT_EQ(message, "expert0gate takes turns with 0 parameters in experts, expected 1");
}

}  // namespace
}  // namespace tessera
