// The device mesh: which rank sits where on the axes (pp, dp_replicate, dp_shard, cp, tp). Pure arithmetic,
// no communication; DeviceMesh (mesh/device_mesh.h) adds process groups.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// Mesh axes, slowest first: ranks that differ only in tp are neighbours.
enum class Axis : int { pp = 0, dp_replicate = 1, dp_shard = 2, cp = 3, tp = 4 };
inline constexpr int kAxisCount = 5;

std::string_view axis_name(Axis axis);

/// Degrees as the user writes them: one may be -1 (inferred from the world size), 0 is an error. `ep` does
/// not make ranks of its own: it regroups the non-pp ranks (see docs/parallelism.md) and must divide
/// dp*cp*tp.
struct MeshSpec {
  int64_t pp = 1;
  int64_t dp_replicate = 1;
  int64_t dp_shard = -1;
  int64_t cp = 1;
  int64_t tp = 1;
  int64_t ep = 1;
};

/// A resolved mesh. Immutable.
class Mesh {
 public:
  /// Resolves -1 and checks that the product is `world_size`. Errors name the product:
  /// "world 8 is not divisible by tp*cp=3".
  Mesh(const MeshSpec& spec, int world_size);

  int world_size() const { return world_size_; }
  int64_t size(Axis axis) const { return sizes_[static_cast<int>(axis)]; }
  int64_t ep() const { return ep_; }

  /// Product of several axes' degrees, e.g. size_of({dp_replicate, dp_shard}).
  int64_t size_of(const std::vector<Axis>& axes) const;

  using Coordinates = std::array<int64_t, kAxisCount>;
  Coordinates coordinates(int rank) const;
  int rank_of(const Coordinates& coordinates) const;
  int64_t coordinate(int rank, Axis axis) const { return coordinates(rank)[static_cast<int>(axis)]; }

  /// The ranks that share all coordinates with `rank` except those on `axes`, in row-major order of `axes` as
  /// they stand in the mesh (slowest first). Always contains `rank`.
  std::vector<int> group_ranks(int rank, const std::vector<Axis>& axes) const;
  /// Position of `rank` in group_ranks(rank, axes).
  int64_t group_index(int rank, const std::vector<Axis>& axes) const;

  /// "pp=1 dp_replicate=1 dp_shard=4 cp=1 tp=1".
  std::string describe() const;

 private:
  int world_size_;
  std::array<int64_t, kAxisCount> sizes_{};
  int64_t ep_ = 1;
};

/// Named sub-meshes: an axis name, or dp (dp_replicate, dp_shard: who reads different data), dp_shard_cp (who
/// shards parameters), dp_cp (who sees different tokens), model (pp, cp, tp: who works on the same data),
/// world (all). Unknown names are an error listing them.
std::vector<Axis> submesh_axes(std::string_view name);

}  // namespace tessera
