// Makes the process groups of a mesh.
#include "mesh/device_mesh.h"

#include "comm/device_world.h"
#include "core/error.h"

namespace tessera {
namespace {

/// One order for all ranks.
constexpr std::string_view kSubmeshes[] = {"pp", "dp_replicate", "dp_shard", "cp",    "tp",
                                           "dp", "dp_shard_cp",  "dp_cp",    "model", "world"};

}  // namespace

DeviceMesh::DeviceMesh(WorldPtr world, const MeshSpec& spec)
    : world_(std::move(world)), mesh_(spec, world_->size()) {
  for (std::string_view name : kSubmeshes) {
    groups_.emplace_back(name,
                         split_world(*world_, std::string(name), mesh_.group_ranks(rank(), submesh_axes(name))));
  }
}

const GroupPtr& DeviceMesh::group(std::string_view name) const {
  for (const auto& [known, group] : groups_) {
    if (known == name) return group;
  }
  submesh_axes(name);  // throws for unknown names, listing the known ones
  throw Error(Code::internal, cat("mesh axis ", name, " has no group"));
}

}  // namespace tessera
