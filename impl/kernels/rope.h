// Rotary position embedding (Su et al., 2021) in the half-rotation layout of Hugging Face ("rotate_half"):
// element i of a head is paired with element i + r/2, where r is the head's rotary part, its first r
// elements.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tessera {

/// How rotary frequencies are stretched beyond the positions a model was trained on.
struct RopeScaling {
  enum class Kind : int { none = 0, linear = 1, llama3 = 2, longrope = 3, yarn = 4 };
  Kind kind = Kind::none;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_max_positions = 8192;
  /// longrope (LongRoPE: Ding et al., 2024): frequency i is divided by short_factor[i], in documents of more
  /// than original_max_positions tokens by long_factor[i]. One entry per pair of elements that are rotated
  /// together.
  std::vector<double> short_factor;
  std::vector<double> long_factor;
  double attention_factor = 1;  ///< multiplied into sines and cosines
  /// yarn (kernels/yarn.h): frequencies that turn less than beta_slow times over original_max_positions are
  /// divided by `factor`, those that turn more than beta_fast times are kept, and between them, at whole
  /// indices if `truncate`, is a ramp.
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;
};

namespace kernels {

/// Which elements of a head's rotary part, its first r elements, are rotated together.
enum class RopePairs : int {
  halves = 0,      ///< i and i + r/2
  neighbours = 1,  ///< 2i and 2i + 1 (DeepSeek)
};

struct RopeTable {
  at::Tensor cos;  ///< float32 [positions, r/2]
  at::Tensor sin;  ///< float32 [positions, r/2]
  RopePairs pairs = RopePairs::halves;
};

/// The table of a model: angle(p, i) = p * theta^(-2i/r) for heads of which r = rotary_dim elements are
/// rotated, stretched as `scaling` says, computed in float32 with the same operations as transformers, so
/// that the angles agree to the last bit. `long_documents` takes the long factors of longrope.
RopeTable make_rope_table(int64_t positions, int64_t rotary_dim, double theta,
                          const RopeScaling& scaling = {}, bool long_documents = false);

/// Rotates the first r elements of each head of x [T, heads, d] by the table's rows position_ids [T] (int64)
/// into `out`, which may be x itself (in place), and copies the others. The last two dimensions must be
/// dense (of neighbours the last); the token stride is free, so q and k may be slices of a fused projection.
/// Arithmetic is float32. Backward is the transposed rotation of the gradient: `inverse = true`. Errors: a
/// position outside the table (argument).
void rope(const at::Tensor& x, const at::Tensor& out, const RopeTable& table, const at::Tensor& position_ids,
          bool inverse = false);

}  // namespace kernels
}  // namespace tessera
