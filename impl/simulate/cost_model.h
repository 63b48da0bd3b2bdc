// Seconds that a rank of a cluster takes: matrix products, attention, passes over memory, and collectives
// over the axes of a mesh.
#pragma once

#include <cstdint>

#include "mesh/mesh.h"
#include "simulate/cluster.h"

namespace tessera {

/// Ranks that communicate, as the links see them: `local` of them share a node.
struct GroupShape {
  int64_t size = 1;
  int64_t local = 1;

  int64_t nodes() const { return (size + local - 1) / local; }
};

/// Rates of one cluster for one dtype. Collectives run over all their links at once: inside a node each rank
/// at its own bandwidth, between nodes over the network cards of all members that the node has (NCCL's rings
/// and its hierarchical algorithms both come to this). What other groups do at the same time over the same
/// links is not counted.
class CostModel {
 public:
  /// `wide`: products in fp32 instead of bf16.
  CostModel(const Cluster& cluster, bool wide) : cluster_(cluster), wide_(wide) {}

  const Cluster& cluster() const { return cluster_; }
  double peak_flops() const { return wide_ ? cluster_.fp32_flops : cluster_.bf16_flops; }
  int64_t element() const { return wide_ ? 4 : 2; }

  /// C [m, n] = A [m, k] B [k, n]; `extra_bytes` are passes over memory beside reading A and B and writing C.
  double matmul(int64_t m, int64_t n, int64_t k, double extra_bytes = 0) const;
  double attention(double flops, bool backward) const;
  /// Element-wise kernels that move so many bytes together.
  double pass(double bytes, int kernels = 1) const;
  /// An optimizer's update, which moves so many bytes that are in no cache.
  double update(double bytes) const;

  /// The ranks of `mesh` that differ in `axis` only, and those of the axes dp_shard and cp together.
  GroupShape group(const Mesh& mesh, Axis axis) const;
  GroupShape shard_group(const Mesh& mesh) const;
  /// The ranks that share the experts out among them, and those that hold the same ones
  /// (mesh/expert_layout.h).
  GroupShape expert_group(const Mesh& mesh, bool cut_width) const;
  GroupShape expert_shards(const Mesh& mesh, bool cut_width) const;
  /// Ranks with the same elements of the same experts.
  GroupShape expert_replicas(const Mesh& mesh, bool cut_width) const;

  /// `bytes` is the size of the whole: what each rank has after an all-gather or before a reduce-scatter.
  double all_gather(const GroupShape& group, double bytes) const;
  double reduce_scatter(const GroupShape& group, double bytes) const { return all_gather(group, bytes); }
  double all_reduce(const GroupShape& group, double bytes) const;
  /// Each rank sends `bytes` / size to every other.
  double all_to_all(const GroupShape& group, double bytes) const;
  /// One message of `bytes` between neighbours on the group's axis.
  double send(const GroupShape& group, double bytes) const;

 private:
  /// `size` ranks, `stride` apart.
  GroupShape shape(const Mesh& mesh, int64_t size, int64_t stride) const;
  double links(const GroupShape& group, double intra_bytes, double inter_bytes) const;

  Cluster cluster_;
  bool wide_;
};

}  // namespace tessera
