// Weights that a checkpoint holds as MXFP4 (OCP Microscaling Formats 1.0, 2023): 32 elements of 4 bits share
// a power of two. gpt-oss is published so.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "tensor/stored_slice.h"

namespace tessera {

inline constexpr int64_t kMxfp4Block = 32;  ///< elements that share a scale

/// float32 [..., 32 G] of blocks uint8 [..., G, 16], two elements (E2M1) a byte with the lower bits first,
/// and their scales uint8 [..., G]: powers of two with a bias of 127 (E8M0), 255 for NaN.
at::Tensor from_mxfp4(const at::Tensor& blocks, const at::Tensor& scales);

/// Whether the checkpoint has the stack of matrices `name` [E, in, out] as MXFP4: `name`_blocks
/// [E, out, in / 32, 16] and `name`_scales [E, out, in / 32].
bool is_mxfp4(const CheckpointReader& reader, const std::string& name);

/// Reads `box` of such a stack of `shape`, transposing it, into a contiguous float32 tensor of box.size.
/// Errors (format): another shape or dtype, rows that are not whole blocks.
at::Tensor read_mxfp4(const CheckpointReader& reader, const std::string& name,
                      const std::vector<int64_t>& shape, const Box& box);

}  // namespace tessera
