// Where a Hugging Face checkpoint has a parameter that is a slice of one of its tensors: q in a fused
// qkv_proj, one expert in a stack of experts. Loading and export read this; to everything else the parameter
// is a tensor of its own, so that plans and sharding cut it where they like.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/box.h"

namespace tessera {

/// Element (i0, i1, ...) of the parameter has, along dim k of the checkpoint's tensor, the index begin[k]
/// plus i_d * step[d] for the d with dim[d] == k. Dims that no d names are dropped: expert e of gate_up_proj
/// [E, H, 2F], whose gate and up take turns along the last dim, is as a gate [F, H]
///
///     {"...experts.gate_up_proj", {E, H, 2*F}, .begin = {e, 0, 0}, .dim = {2, 1}, .step = {2, 1}}
///
/// and as an up the same with .begin = {e, 0, 1}.
struct StoredSlice {
  std::string name;
  std::vector<int64_t> shape;  ///< of the checkpoint's tensor
  std::vector<int64_t> begin;  ///< one per dim of `shape`
  std::vector<int> dim;        ///< one per dim of the parameter, no two alike
  std::vector<int64_t> step;   ///< one per dim of the parameter

  /// Rows `first` .. `first` + shape[0] of a tensor of `rows` rows; `shape` is the parameter's.
  static StoredSlice rows_of(std::string name, const std::vector<int64_t>& shape, int64_t rows,
                             int64_t first);

  /// True when the slice is a box of the checkpoint's tensor with its dims in their order, so that the bytes
  /// of both are the same.
  bool plain() const;
  /// Throws internal unless a parameter of `shape` lies inside the checkpoint's tensor.
  void check(const std::vector<int64_t>& shape) const;

  /// The smallest box of the checkpoint's tensor that holds `part` of the parameter.
  Box cover(const Box& part) const;
  /// The elements of `part`, shaped so, as a view of a contiguous tensor that holds cover(part).
  at::Tensor view(const at::Tensor& covered, const Box& part) const;
};

}  // namespace tessera
