// Experts that a checkpoint holds as MXFP4 are read as the numbers that the format defines, whatever part is
// asked for; and what a checkpoint has beside the model is named.
#include "checkpoint/mxfp4.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/stored.h"
#include "checkpoint/unread.h"
#include "checkpoint_support.h"

namespace tessera {
namespace {

constexpr int64_t kExperts = 3, kIn = 96, kOut = 10;

/// E2M1 as the format's table says, computed from its fields.
double element(int bits) {
  const double sign = (bits & 8) != 0 ? -1 : 1;
  const int exponent = bits >> 1 & 3, mantissa = bits & 1;
  return sign * (exponent == 0 ? mantissa * 0.5 : std::ldexp(1 + mantissa * 0.5, exponent - 1));
}

struct Stack {
  at::Tensor blocks = at::randint(0, 256, {kExperts, kOut, kIn / 32, 16}, at::kByte);
  at::Tensor scales = at::randint(100, 140, {kExperts, kOut, kIn / 32}, at::kByte);

  double value(int64_t expert, int64_t in, int64_t out) const {
    const int byte = blocks[expert][out][in / 32][in % 32 / 2].item<uint8_t>();
    const int scale = scales[expert][out][in / 32].item<uint8_t>();
    return std::ldexp(element(in % 2 == 0 ? byte & 15 : byte >> 4), scale - 127);
  }
};

TEST(Mxfp4, EveryPartOfAStackIsWhatTheFormatDefines) {
  const Stack stack;
  const TempDirectory directory;
  write_safetensors(directory / "model.safetensors",
                    {{"w_blocks", stack.blocks}, {"w_scales", stack.scales}});
  const CheckpointReader reader(directory.path());
  EXPECT_TRUE(is_mxfp4(reader, "w"));
  EXPECT_FALSE(is_mxfp4(reader, "w_blocks"));
  for (const Box& box : {Box{{0, 0, 0}, {3, 96, 10}}, Box{{2, 0, 3}, {1, 96, 4}}, Box{{1, 31, 9}, {2, 34, 1}},
                         Box{{0, 64, 0}, {1, 1, 10}}, Box{{1, 5, 2}, {1, 0, 3}}}) {
    const at::Tensor part = read_mxfp4(reader, "w", {kExperts, kIn, kOut}, box);
    ASSERT_EQ(part.sizes().vec(), box.size);
    for (int64_t e = 0; e < box.size[0]; ++e) {
      for (int64_t i = 0; i < box.size[1]; ++i) {
        for (int64_t o = 0; o < box.size[2]; ++o) {
          ASSERT_EQ(part[e][i][o].item<float>(),
                    stack.value(box.offset[0] + e, box.offset[1] + i, box.offset[2] + o));
        }
      }
    }
  }
}

TEST(Mxfp4, ExtremeScalesArePowersOfTwoAndNan) {
  const at::Tensor blocks = at::full({3, 16}, 0x2F, at::kByte);  // -6 and 1
  const at::Tensor scales = at::zeros({3}, at::kByte);
  scales[1] = 254;
  scales[2] = 255;
  const at::Tensor values = from_mxfp4(blocks.unsqueeze(0), scales.unsqueeze(0))[0].view({3, 32});
  EXPECT_EQ(values[0][1].item<float>(), std::ldexp(1.0F, -127));
  EXPECT_EQ(values[1][1].item<float>(), std::ldexp(1.0F, 127));
  EXPECT_TRUE(std::isinf(values[1][0].item<float>()));
  EXPECT_TRUE(values[2].isnan().all().item<bool>());
}

TEST(Mxfp4, ParametersReadTheirTurnOfAQuantizedStack) {
  const Stack stack;
  const TempDirectory directory;
  write_safetensors(directory / "model.safetensors",
                    {{"w_blocks", stack.blocks}, {"w_scales", stack.scales}});
  const CheckpointReader reader(directory.path());
  ParamSpec up;  // [F, H] of expert 1: every second output, from the second on
  up.name = "expert1.up";
  up.shape = {kOut / 2, kIn};
  up.stored = StoredSlice{"w", {kExperts, kIn, kOut}, {1, 0, 1}, {2, 1}, {2, 1}};
  const at::Tensor out = at::empty({2, 40}, at::kFloat);
  read_parameter(reader, up, {{2, 50}, {2, 40}}, out);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 40; ++column) {
      ASSERT_EQ(out[row][column].item<float>(), stack.value(1, 50 + column, 1 + 2 * (2 + row)));
    }
  }
  EXPECT_EQ(tensors_of(reader, up), (std::vector<std::string>{"w_blocks", "w_scales"}));
}

TEST(Mxfp4, WrongShapesAndTypesAreErrors) {
  const Stack stack;
  const auto error_of = [&](const at::Tensor& blocks, const at::Tensor& scales, int64_t in) -> std::string {
    const TempDirectory directory;
    write_safetensors(directory / "model.safetensors", {{"w_blocks", blocks}, {"w_scales", scales}});
    const CheckpointReader reader(directory.path());
    try {
      read_mxfp4(reader, "w", {kExperts, in, kOut}, Box{{0, 0, 0}, {1, in, kOut}});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::format);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(error_of(stack.blocks, stack.scales, 80),
            "w has rows of 80 elements, MXFP4 needs whole blocks of 32");
  EXPECT_EQ(error_of(stack.blocks, stack.scales.to(at::kFloat), kIn),
            "w_scales holds Float, MXFP4 weights are bytes");
  EXPECT_NE(error_of(stack.blocks.narrow(2, 0, 2).contiguous(), stack.scales, kIn), "no error");
  EXPECT_NE(error_of(stack.blocks, stack.scales.narrow(1, 0, 4).contiguous(), kIn), "no error");
}

TEST(UnreadTensors, AreNamedLayersBehindTheLastTogether) {
  const std::set<std::string> read = {"model.embed_tokens.weight", "model.layers.0.a.weight",
                                      "model.layers.11.a.weight"};
  std::vector<std::string> stored(read.begin(), read.end());
  EXPECT_EQ(describe_unread(stored, read), "");
  for (const char* name : {"lm_head.weight", "model.layers.3.self_attn.rotary_emb.inv_freq",
                           "model.layers.0.b", "model.layers.12.a.weight", "model.layers.12.eh_proj.weight",
                           "model.layers.99999999999999999999.x"}) {
    stored.emplace_back(name);
  }
  EXPECT_EQ(
      describe_unread(stored, read),
      "model.layers.9223372036854775807.* (1 tensors, behind the last layer), model.layers.12.* (2 tensors, "
      "behind the last layer), model.layers.0.b");
  for (int i = 0; i < 20; ++i) stored.push_back(cat("extra", i));
  EXPECT_NE(describe_unread(stored, read).find(" and 15 more"), std::string::npos);
}

}  // namespace
}  // namespace tessera
