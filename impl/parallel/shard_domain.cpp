// Process groups of the domains.
#include "parallel/shard_domain.h"

#include "mesh/expert_layout.h"

namespace tessera {

std::vector<ShardDomain> make_domains(const DeviceMesh& mesh, bool experts, bool split_width) {
  ShardDomain dense;
  dense.shards = mesh.group("dp_shard_cp");
  dense.replicas = mesh.group("dp_replicate");
  dense.position = {mesh.index("tp"), mesh.size("tp"), dense.shards->rank(), dense.shards->size()};
  std::vector<ShardDomain> domains = {dense};
  if (!experts) return domains;

  const ExpertLayout layout = expert_layout(mesh.layout(), mesh.rank(), split_width);
  ShardDomain spread;
  spread.ep = mesh.world()->group("ep", layout.ep_ranks);
  spread.shards = mesh.world()->group("ep_shard", layout.shard_ranks);
  spread.replicas = mesh.world()->group("ep_replicate", layout.replica_ranks);
  if (split_width) {
    spread.position.tp_index = mesh.index("tp");
    spread.position.tp_size = mesh.size("tp");
  }
  spread.position.shard_index = layout.shard_index;
  spread.position.shards = layout.shards;
  spread.position.ep_index = layout.ep_index;
  domains.push_back(std::move(spread));
  return domains;
}

}  // namespace tessera
