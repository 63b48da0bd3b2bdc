// The ranks over which a parameter is sharded. A model has up to two such domains: what all ranks share, and
// its experts.
#pragma once

#include <vector>

#include "mesh/device_mesh.h"
#include "parallel/fsdp_layout.h"

namespace tessera {

struct ShardDomain {
  GroupPtr shards;         ///< ranks that each hold some rows of every parameter of the domain
  GroupPtr replicas;       ///< ranks that hold the same rows
  ShardPosition position;  ///< of this rank
  GroupPtr ep;             ///< of experts: the ranks that each hold some of them; null in the other domain
};

/// Collective. What all ranks share, and for a model with experts those: by domain_of.
std::vector<ShardDomain> make_domains(const DeviceMesh& mesh, bool experts, bool split_width);

}  // namespace tessera
