// Rotary position embedding (Su et al., 2021) in the half-rotation layout of Hugging Face ("rotate_half"):
// element i of a head is paired with element i + d/2.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera {

/// How rotary frequencies are stretched beyond the positions a model was trained on.
struct RopeScaling {
  enum class Kind : int { none = 0, linear = 1, llama3 = 2 };
  Kind kind = Kind::none;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_max_positions = 8192;
};

namespace kernels {

struct RopeTable {
  at::Tensor cos;  ///< float32 [positions, d/2]
  at::Tensor sin;  ///< float32 [positions, d/2]
};

/// The table of a model: angle(p, i) = p * theta^(-2i/d), stretched as `scaling` says, computed in float32
/// with the same operations as transformers, so that the angles agree to the last bit.
RopeTable make_rope_table(int64_t positions, int64_t head_dim, double theta, const RopeScaling& scaling = {});

/// Rotates x [T, heads, d] by its position_ids [T] (int64) into `out`, which may be x itself (in place). The
/// last two dimensions must be dense; the token stride is free, so q and k may be slices of a fused
/// projection. Arithmetic is float32. Backward is the inverse rotation of the gradient: `inverse = true`.
/// Errors: a position outside the table (argument).
void rope(const at::Tensor& x, const at::Tensor& out, const RopeTable& table, const at::Tensor& position_ids,
          bool inverse = false);

}  // namespace kernels
}  // namespace tessera
