// A Mesh joined to a World: the process groups of this rank along the axes.
#pragma once

#include <string_view>

#include "comm/world.h"
#include "mesh/mesh.h"

namespace tessera {

class DeviceMesh {
 public:
  /// Collective: every rank makes all groups of its axes and sub-meshes, in one fixed order.
  DeviceMesh(WorldPtr world, const MeshSpec& spec);

  const Mesh& layout() const { return mesh_; }
  const WorldPtr& world() const { return world_; }
  int rank() const { return world_->rank(); }

  /// The group of this rank along one axis or a named sub-mesh (submesh_axes). Size 1 groups exist too.
  const GroupPtr& group(std::string_view name) const;
  int64_t size(std::string_view name) const { return mesh_.size_of(submesh_axes(name)); }
  int64_t index(std::string_view name) const { return mesh_.group_index(rank(), submesh_axes(name)); }

 private:
  WorldPtr world_;
  Mesh mesh_;
  std::vector<std::pair<std::string, GroupPtr>> groups_;
};
using DeviceMeshPtr = std::shared_ptr<DeviceMesh>;

}  // namespace tessera
