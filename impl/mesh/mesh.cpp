// Resolves mesh degrees and maps ranks to coordinates and groups, row-major with tp fastest.
#include "mesh/mesh.h"

#include <algorithm>

#include "core/error.h"

namespace tessera {
namespace {

constexpr std::array<std::string_view, kAxisCount> kNames = {"pp", "dp_replicate", "dp_shard", "cp", "tp"};

/// A product of degrees with its spelling: "tp*cp=4". Saturates instead of overflowing.
struct NamedProduct {
  int64_t value = 1;
  std::string text;

  void multiply(std::string_view name, int64_t degree) {
    if (__builtin_mul_overflow(value, degree, &value)) value = INT64_MAX;
    if (!text.empty()) text += '*';
    text += name;
  }
  std::string describe() const { return cat(text, "=", value); }
};

/// tp and cp are always spelled out: they are what a user changes first. The others only where they count.
NamedProduct known_product(const std::array<int64_t, kAxisCount>& sizes) {
  NamedProduct product;
  for (Axis axis : {Axis::tp, Axis::cp, Axis::pp, Axis::dp_replicate, Axis::dp_shard}) {
    const int64_t degree = sizes[static_cast<int>(axis)];
    if (degree == -1) continue;
    if (degree > 1 || axis == Axis::tp || axis == Axis::cp) product.multiply(axis_name(axis), degree);
  }
  return product;
}

}  // namespace

std::string_view axis_name(Axis axis) {
  return kNames[static_cast<int>(axis)];
}

Mesh::Mesh(const MeshSpec& spec, int world_size)
    : world_size_(world_size),
      sizes_{spec.pp, spec.dp_replicate, spec.dp_shard, spec.cp, spec.tp},
      ep_(spec.ep) {
  TESSERA_CHECK(world_size >= 1, argument, "world_size=", world_size, " must be at least 1");
  int inferred = -1;
  for (int axis = 0; axis < kAxisCount; ++axis) {
    TESSERA_CHECK(sizes_[axis] >= 1 || sizes_[axis] == -1, argument, kNames[axis], "=", sizes_[axis],
                  " must be at least 1, or -1 to infer it");
    if (sizes_[axis] != -1) continue;
    TESSERA_CHECK(inferred < 0, argument, "only one mesh axis can be -1, but ", kNames[inferred], " and ",
                  kNames[axis], " both are");
    inferred = axis;
  }

  const NamedProduct known = known_product(sizes_);
  if (inferred >= 0) {
    TESSERA_CHECK(world_size % known.value == 0, argument, "world ", world_size, " is not divisible by ",
                  known.describe());
    sizes_[inferred] = world_size / known.value;
  } else {
    TESSERA_CHECK(known.value == world_size, argument, known.describe(), " is not the world size ",
                  world_size);
  }

  TESSERA_CHECK(ep_ >= 1, argument, "ep=", ep_, " must be at least 1");
  const int64_t non_pp = world_size / size(Axis::pp);
  TESSERA_CHECK(non_pp % ep_ == 0, argument, "ep=", ep_, " does not divide dp*cp*tp=", non_pp);
}

int64_t Mesh::size_of(const std::vector<Axis>& axes) const {
  int64_t product = 1;
  for (Axis axis : axes) product *= size(axis);
  return product;
}

Mesh::Coordinates Mesh::coordinates(int rank) const {
  TESSERA_CHECK(rank >= 0 && rank < world_size_, argument, "rank=", rank, " is not in a world of ",
                world_size_);
  Coordinates result{};
  int64_t rest = rank;
  for (int axis = kAxisCount - 1; axis >= 0; --axis) {
    result[axis] = rest % sizes_[axis];
    rest /= sizes_[axis];
  }
  return result;
}

int Mesh::rank_of(const Coordinates& coordinates) const {
  int64_t rank = 0;
  for (int axis = 0; axis < kAxisCount; ++axis) {
    TESSERA_CHECK(coordinates[axis] >= 0 && coordinates[axis] < sizes_[axis], argument, "coordinate ",
                  kNames[axis], "=", coordinates[axis], " is not below ", sizes_[axis]);
    rank = rank * sizes_[axis] + coordinates[axis];
  }
  return static_cast<int>(rank);
}

std::vector<int> Mesh::group_ranks(int rank, const std::vector<Axis>& axes) const {
  Coordinates position = coordinates(rank);
  std::array<bool, kAxisCount> varies{};
  for (Axis axis : axes) varies[static_cast<int>(axis)] = true;
  for (int axis = 0; axis < kAxisCount; ++axis) {
    if (varies[axis]) position[axis] = 0;
  }

  std::vector<int> ranks;
  for (;;) {
    ranks.push_back(rank_of(position));
    // Count up like an odometer over the varying axes, fastest last.
    int axis = kAxisCount - 1;
    for (; axis >= 0; --axis) {
      if (!varies[axis]) continue;
      if (++position[axis] < sizes_[axis]) break;
      position[axis] = 0;
    }
    if (axis < 0) return ranks;
  }
}

int64_t Mesh::group_index(int rank, const std::vector<Axis>& axes) const {
  const Coordinates position = coordinates(rank);
  std::array<bool, kAxisCount> varies{};
  for (Axis axis : axes) varies[static_cast<int>(axis)] = true;
  int64_t index = 0;
  for (int axis = 0; axis < kAxisCount; ++axis) {
    if (varies[axis]) index = index * sizes_[axis] + position[axis];
  }
  return index;
}

std::string Mesh::describe() const {
  std::string text;
  for (int axis = 0; axis < kAxisCount; ++axis) {
    text += cat(axis == 0 ? "" : " ", kNames[axis], "=", sizes_[axis]);
  }
  return ep_ > 1 ? cat(text, " ep=", ep_) : text;
}

std::vector<Axis> submesh_axes(std::string_view name) {
  for (int axis = 0; axis < kAxisCount; ++axis) {
    if (name == kNames[axis]) return {static_cast<Axis>(axis)};
  }
  if (name == "dp") return {Axis::dp_replicate, Axis::dp_shard};
  if (name == "dp_shard_cp") return {Axis::dp_shard, Axis::cp};
  if (name == "dp_cp") return {Axis::dp_replicate, Axis::dp_shard, Axis::cp};
  if (name == "model") return {Axis::pp, Axis::cp, Axis::tp};
  if (name == "world") return {Axis::pp, Axis::dp_replicate, Axis::dp_shard, Axis::cp, Axis::tp};
  throw Error(Code::argument, cat("mesh axis \"", name,
                                  "\" is unknown: expected pp, dp_replicate, dp_shard, cp, tp, dp, "
                                  "dp_shard_cp, dp_cp, model or world"));
}

}  // namespace tessera
