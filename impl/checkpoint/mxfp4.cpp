// Reading of MXFP4 blocks and scales.
#include "checkpoint/mxfp4.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace tessera {
namespace {

constexpr int64_t kBytes = kMxfp4Block / 2;

// Sign, two bits of exponent with a bias of 1, one of mantissa.
constexpr float kValues[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                               -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

float scale_of(uint8_t bits) {
  if (bits == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0F, static_cast<int>(bits) - 127);
}

void check_bytes(const CheckpointReader& reader, const std::string& name) {
  const at::ScalarType dtype = reader.entry(name).dtype;
  TESSERA_CHECK(dtype == at::kByte, format, name, " holds ", c10::toString(dtype),
                ", MXFP4 weights are bytes");
}

}  // namespace

at::Tensor from_mxfp4(const at::Tensor& blocks, const at::Tensor& scales) {
  std::vector<int64_t> shape = scales.sizes().vec();
  shape.back() *= kMxfp4Block;
  at::Tensor out = at::empty(shape, at::dtype(at::kFloat));
  const auto* byte = blocks.const_data_ptr<uint8_t>();
  const auto* scale = scales.const_data_ptr<uint8_t>();
  auto* value = out.mutable_data_ptr<float>();
  for (int64_t block = 0; block < scales.numel(); ++block) {
    const float unit = scale_of(scale[block]);
    for (int64_t i = 0; i < kBytes; ++i, ++byte) {
      *value++ = kValues[*byte & 15] * unit;
      *value++ = kValues[*byte >> 4] * unit;
    }
  }
  return out;
}

bool is_mxfp4(const CheckpointReader& reader, const std::string& name) {
  return !reader.contains(name) && reader.contains(name + "_blocks");
}

at::Tensor read_mxfp4(const CheckpointReader& reader, const std::string& name,
                      const std::vector<int64_t>& shape, const Box& box) {
  TESSERA_CHECK(shape.size() == 3, internal, name, " is no stack of matrices");
  const int64_t in = shape[1];
  TESSERA_CHECK(in % kMxfp4Block == 0, format, name, " has rows of ", in,
                " elements, MXFP4 needs whole blocks of ", kMxfp4Block);
  check_bytes(reader, name + "_blocks");
  check_bytes(reader, name + "_scales");
  // The blocks that the box touches, in the order in which they are stored.
  const int64_t first = box.offset[1] / kMxfp4Block;
  const int64_t last = (box.offset[1] + box.size[1] + kMxfp4Block - 1) / kMxfp4Block;
  const Box scales_box{{box.offset[0], box.offset[2], first}, {box.size[0], box.size[2], last - first}};
  Box blocks_box = scales_box;
  blocks_box.offset.push_back(0);
  blocks_box.size.push_back(kBytes);
  const at::Tensor scales = at::empty(scales_box.size, at::dtype(at::kByte));
  const at::Tensor blocks = at::empty(blocks_box.size, at::dtype(at::kByte));
  const int64_t groups = in / kMxfp4Block;
  reader.read(name + "_scales", {shape[0], shape[2], groups}, scales_box, scales);
  reader.read(name + "_blocks", {shape[0], shape[2], groups, kBytes}, blocks_box, blocks);
  return from_mxfp4(blocks, scales)
      .narrow(2, box.offset[1] - first * kMxfp4Block, box.size[1])
      .transpose(1, 2)
      .contiguous();
}

}  // namespace tessera
