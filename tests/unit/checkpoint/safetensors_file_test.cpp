// Reading boxes out of safetensors files and checkpoint directories, whole ones and damaged ones.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "checkpoint_support.h"

namespace tessera {
namespace {

at::Tensor cut(at::Tensor full, const Box& box) {
  for (size_t d = 0; d < box.size.size(); ++d) {
    full = full.narrow(static_cast<int64_t>(d), box.offset[d], box.size[d]);
  }
  return full.contiguous();
}

at::Tensor read_box(const SafetensorsFile& file, const std::string& name, const Box& box,
                    at::ScalarType dtype) {
  const at::Tensor out = at::zeros(box.size, dtype);
  file.read(*file.find(name), box, out);
  return out;
}

TEST(SafetensorsFile, ReadsAnyBoxInAnyFloatingDtype) {
  const TempDirectory directory;
  const at::Tensor cube = at::randn({7, 50, 33});
  const at::Tensor half = at::randn({40, 9000}).to(at::kBFloat16);  // odd byte offsets for what follows
  const at::Tensor flag = at::arange(5).to(at::kChar);
  write_safetensors(directory / "x.safetensors", {{"flag", flag}, {"cube", cube}, {"half", half}});
  const SafetensorsFile file(directory / "x.safetensors");
  for (const Box& box :
       {Box::whole({7, 50, 33}), Box{{2, 0, 0}, {3, 50, 33}}, Box{{0, 10, 0}, {7, 20, 33}},
        Box{{1, 3, 5}, {5, 40, 7}}, Box{{6, 49, 32}, {1, 1, 1}}, Box{{0, 0, 0}, {7, 50, 1}}}) {
    for (at::ScalarType dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
      EXPECT_TRUE(at::equal(read_box(file, "cube", box, dtype), cut(cube, box).to(dtype)));
    }
  }
  for (const Box& box : {Box::whole({40, 9000}), Box{{0, 8999}, {40, 1}}, Box{{3, 100}, {30, 8800}}}) {
    EXPECT_TRUE(at::equal(read_box(file, "half", box, at::kBFloat16), cut(half, box)));
    EXPECT_TRUE(at::equal(read_box(file, "half", box, at::kFloat), cut(half, box).to(at::kFloat)));
  }
  EXPECT_TRUE(at::equal(read_box(file, "flag", {{1}, {3}}, at::kLong), flag.narrow(0, 1, 3).to(at::kLong)));
  EXPECT_EQ(file.find("absent"), nullptr);
}

TEST(SafetensorsFile, ReadsScalarsEmptyTensorsAndSmallDtypes) {
  const TempDirectory directory;
  const at::Tensor scalar = at::randn({});
  const at::Tensor none = at::empty({0, 4}, at::kHalf);
  const at::Tensor fp8 = at::randn({3, 5}).to(at::kFloat8_e4m3fn);
  const at::Tensor flags = at::randn({9}).gt(0);
  write_safetensors(directory / "x", {{"scalar", scalar}, {"none", none}, {"fp8", fp8}, {"flags", flags}});
  const SafetensorsFile file(directory / "x");
  EXPECT_TRUE(at::equal(read_box(file, "scalar", Box::whole({}), at::kFloat), scalar));
  EXPECT_EQ(read_box(file, "none", Box::whole({0, 4}), at::kFloat).numel(), 0);
  EXPECT_TRUE(at::equal(read_box(file, "fp8", Box::whole({3, 5}), at::kFloat), fp8.to(at::kFloat)));
  EXPECT_TRUE(at::equal(read_box(file, "flags", Box::whole({9}), at::kBool), flags));
}

TEST(SafetensorsFile, RefusesBoxesOutputsAndConversionsThatDoNotFit) {
  const TempDirectory directory;
  write_safetensors(directory / "x", {{"w", at::randn({4, 4})}});
  const SafetensorsFile file(directory / "x");
  const TensorEntry& entry = *file.find("w");
  EXPECT_EQ(error_code([&] { file.read(entry, {{0, 0}, {5, 4}}, at::empty({5, 4})); }), Code::argument);
  EXPECT_EQ(error_code([&] { file.read(entry, {{0}, {4}}, at::empty({4})); }), Code::argument);
  EXPECT_EQ(error_code([&] { file.read(entry, Box::whole({4, 4}), at::empty({4, 3})); }), Code::argument);
  EXPECT_EQ(error_code([&] { file.read(entry, Box::whole({4, 4}), at::empty({4, 4}).t()); }), Code::argument);
  EXPECT_EQ(error_code([&] { file.read(entry, Box::whole({4, 4}), at::empty({4, 4}, at::kLong)); }),
            Code::unsupported);
}

TEST(SafetensorsFile, DamagedFilesAreErrors) {
  const TempDirectory directory;
  const std::string path = directory / "x";
  const auto open = [&](const std::string& bytes) {
    write_file(path, bytes);
    std::string message;
    const Code code = error_code([&] { SafetensorsFile file(path); }, &message);
    if (code != Code::ok) {
      EXPECT_EQ(message.find(path), 0u) << message;
    }
    return code;
  };
  const std::string good =
      raw_safetensors(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "abcdefgh");
  EXPECT_EQ(open(good), Code::ok);
  // Cut anywhere, or longer than it says: never accepted, never a crash.
  for (size_t bytes = 0; bytes < good.size(); ++bytes)
    EXPECT_EQ(open(good.substr(0, bytes)), Code::format) << bytes;
  EXPECT_EQ(open(good + "x"), Code::format);
  EXPECT_EQ(open(raw_safetensors("")), Code::format);
  EXPECT_EQ(open(std::string(8, '\xff')), Code::format);
  // A big-endian length prefix reads as a giant one.
  std::string swapped = good;
  std::reverse(swapped.begin(), swapped.begin() + 8);
  EXPECT_EQ(open(swapped), Code::format);
  EXPECT_EQ(error_code([&] { SafetensorsFile file(directory / "absent"); }), Code::not_found);
  EXPECT_EQ(error_code([&] { SafetensorsFile file(directory.path()); }), Code::io);
  ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(error_code([&] { SafetensorsFile file(directory / "fifo"); }), Code::io);
}

TEST(SafetensorsFile, AFileThatShrinksOrIsReplacedUnderTheReaderIsAnError) {
  const TempDirectory directory;
  const std::string path = directory / "x";
  write_safetensors(path, {{"w", at::randn({100, 100})}});
  const SafetensorsFile file(path);
  const at::Tensor out = at::empty({100, 100});
  ASSERT_EQ(::truncate(path.c_str(), 1000), 0);
  std::string message;
  EXPECT_EQ(error_code([&] { file.read(*file.find("w"), Box::whole({100, 100}), out); }, &message), Code::io);
  EXPECT_NE(message.find("ends at byte 1000"), std::string::npos) << message;
  file.release_handle();
  EXPECT_EQ(error_code([&] { file.read(*file.find("w"), Box::whole({100, 100}), out); }, &message), Code::io);
  EXPECT_NE(message.find("changed"), std::string::npos) << message;
}

TEST(SafetensorsFile, ManyThreadsReadOneFile) {
  const TempDirectory directory;
  const at::Tensor full = at::randn({64, 300});
  write_safetensors(directory / "x", {{"w", full}});
  const SafetensorsFile file(directory / "x");
  std::vector<std::thread> threads;
  std::atomic<int> equal{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const Box box{{t * 16, 0}, {16, 300}};
        if (i % 10 == 0) file.release_handle();
        equal += at::equal(read_box(file, "w", box, at::kFloat), cut(full, box));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(equal, 200);
}

TEST(CheckpointReader, ReadsSingleFileAndIndexAlike) {
  const TempDirectory single, many;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::string map;
  for (int i = 0; i < 20; ++i) {
    const std::string name = cat("model.layers.", i, ".weight"), file = cat("model-", i, ".safetensors");
    tensors.emplace_back(name, at::randn({5, 6}));
    write_safetensors(many / file, {tensors.back()});
    map += cat(i ? "," : "", "\"", name, "\":\"", file, "\"");
  }
  write_safetensors(single / "model.safetensors", tensors);
  write_file(many / "model.safetensors.index.json", "{\"metadata\":{},\"weight_map\":{" + map + "}}");
  const CheckpointReader a(single.path()), b(many.path());
  EXPECT_EQ(a.names().size(), 20u);
  EXPECT_EQ(a.names(), b.names());
  const Box box{{1, 2}, {3, 4}};
  // Twice and backwards, so that files whose descriptor was given back are opened again.
  for (int i = 39; i >= 0; --i) {
    const auto& [name, tensor] = tensors[i % 20];
    const at::Tensor x = at::empty({3, 4}), y = at::empty({3, 4});
    a.read(name, {5, 6}, box, x);
    b.read(name, {5, 6}, box, y);
    EXPECT_TRUE(at::equal(x, cut(tensor, box)));
    EXPECT_TRUE(at::equal(x, y));
    EXPECT_TRUE(b.contains(name));
    EXPECT_EQ(b.entry(name).shape, (std::vector<int64_t>{5, 6}));
  }
  size_t open = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    open += std::filesystem::read_symlink(entry, ignored).string().find(many.path()) == 0;
  }
  EXPECT_LE(open, 16u);
}

TEST(CheckpointReader, NamesWhatIsMissingAndWhatIsNear) {
  const TempDirectory directory;
  write_safetensors(
      directory / "model.safetensors",
      {{"model.layers.0.self_attn.q_proj.weight", at::randn({2, 2})}, {"model.norm.weight", at::randn({2})}});
  const CheckpointReader reader(directory.path());
  std::string message;
  EXPECT_EQ(error_code([&] { reader.entry("model.layers.0.self_attn.k_proj.weight"); }, &message),
            Code::not_found);
  EXPECT_NE(message.find("did you mean 'model.layers.0.self_attn.q_proj.weight'"), std::string::npos)
      << message;
  EXPECT_EQ(error_code([&] { reader.entry("norm.weight"); }, &message), Code::not_found);
  EXPECT_NE(message.find("'model.norm.weight'"), std::string::npos) << message;
  EXPECT_EQ(error_code([&] { reader.entry("completely.different"); }, &message), Code::not_found);
  EXPECT_EQ(message.find("did you mean"), std::string::npos) << message;
  EXPECT_EQ(
      error_code([&] { reader.read("model.norm.weight", {3}, Box::whole({3}), at::empty({3})); }, &message),
      Code::format);
  EXPECT_NE(message.find("has shape [2]"), std::string::npos) << message;
  EXPECT_NE(message.find("expected [3]"), std::string::npos) << message;
}

TEST(CheckpointReader, RefusesDirectoriesAndIndexesThatLie) {
  const TempDirectory directory;
  const auto code = [&](std::string* message = nullptr) {
    return error_code([&] { CheckpointReader reader(directory.path()); }, message);
  };
  const auto index = [&](const std::string& map) {
    write_file(directory / "model.safetensors.index.json", "{\"weight_map\":" + map + "}");
  };
  std::string message;
  EXPECT_EQ(error_code([&] { CheckpointReader reader(directory / "absent"); }), Code::not_found);
  EXPECT_EQ(code(), Code::not_found);
  write_file(directory / "pytorch_model.bin", "x");
  EXPECT_EQ(code(), Code::unsupported);
  write_safetensors(directory / "a.safetensors", {{"x", at::randn({2})}});
  write_safetensors(directory / "b.safetensors", {{"y", at::randn({2})}});
  index(R"({"x":"a.safetensors","y":"b.safetensors"})");
  EXPECT_EQ(code(), Code::ok);
  index(R"({"x":"a.safetensors","y":"c.safetensors"})");
  EXPECT_EQ(code(&message), Code::not_found);
  EXPECT_NE(message.find("'c.safetensors'"), std::string::npos) << message;
  index(R"({"x":"b.safetensors"})");
  EXPECT_EQ(code(), Code::format);
  index(R"({"x":"b.safetensors","y":"b.safetensors","z":"a.safetensors"})");
  EXPECT_EQ(code(&message), Code::format);
  EXPECT_NE(message.find("which lacks it (it is in "), std::string::npos) << message;
  index(R"({"x":"../a.safetensors"})");
  EXPECT_EQ(code(&message), Code::format);
  EXPECT_NE(message.find("not a plain file name"), std::string::npos) << message;
  index("[]");
  EXPECT_EQ(code(), Code::format);
}

}  // namespace
}  // namespace tessera
