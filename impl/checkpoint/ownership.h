// What all ranks know of the tensors that they are about to write: names, shapes and who owns which box.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/group.h"
#include "tensor/placement.h"

namespace tessera {

/// One rank's owned box of a tensor.
struct OwnedPart {
  int rank = 0;  ///< group rank
  Box box;
};

struct OwnedTensor {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  std::vector<OwnedPart> parts;  ///< not empty ones, by rank, then in the order of that rank's list
  bool exact = false;            ///< ShardedTensor::exact
};

/// Whether one rank may hand in several parts of a tensor.
enum class PartsOfRank : int { one = 0, several = 1 };

/// Throws argument unless names are not empty, boxes fit shapes, and `local` is contiguous and box.size
/// shaped.
void check_tensors(const std::vector<ShardedTensor>& tensors, PartsOfRank parts = PartsOfRank::one);

/// Throws argument ("tensor x: 12 of 16 elements have an owner") unless parts are disjoint and cover the
/// tensor.
void check_cover(const OwnedTensor& tensor);

/// Collective. The tensors of all ranks, equal on every rank, in the order in which rank 0, then rank 1, ...
/// name them. Checks that ranks agree on shapes and dtypes and that each element has exactly one owner.
std::vector<OwnedTensor> gather_ownership(const std::vector<ShardedTensor>& tensors, Group& group,
                                          at::Device device, PartsOfRank parts = PartsOfRank::one);

}  // namespace tessera
