// Clusters as a cost model sees them: what one device computes, moves and holds, and how devices are wired.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// One device and its links. Rates are peaks in units a second; the shares say how much of a peak large
/// operations reach in practice.
struct Cluster {
  std::string name;

  double bf16_flops = 0;  ///< dense matrix products
  double fp32_flops = 0;
  /// Share of the peak that a very large matrix product reaches, and the length of one of its three sides at
  /// which half of that is left: share * product of d / (d + gemm_half) over rows, columns and depth.
  double gemm_share = 0.75;
  double gemm_half = 128;
  double attention_share = 0.5;           ///< of the peak, forward
  double attention_backward_share = 0.4;  ///< backward
  double launch_seconds = 0;              ///< start of one kernel, where the queue does not hide it

  double memory_bytes = 0;      ///< of one device
  double memory_bandwidth = 0;  ///< bytes a second
  double memory_share = 0.8;    ///< what element-wise kernels reach; above 1 where caches hold activations
  double update_share = 0.8;    ///< and what optimizers reach
  double reserved_fraction = 0.06;  ///< of the memory: context, communication buffers, fragmentation

  int64_t node_devices = 8;    ///< devices that share the fast links
  double intra_bandwidth = 0;  ///< of one device to its node, one direction
  double intra_latency = 0;    ///< seconds a hop
  double inter_bandwidth = 0;  ///< of one device's share of the node's network cards, one direction
  double inter_latency = 0;
  double link_share = 0.75;  ///< what collectives reach of either

  /// Ranks of a node share memory and are threads of the same cores (the local engine): gathers of weights
  /// copy nothing, and moving data is work of the rank itself, which nothing overlaps.
  bool shares_memory = false;

  std::string source;  ///< where the figures come from, for a person
};

/// Names of the known clusters, in the order in which they are shown.
std::vector<std::string> cluster_names();

/// A known cluster by name, or one that a YAML or JSON map describes: keys are the members of Cluster in the
/// units above, and `base` names the known cluster that the other keys change. `text` that is neither and
/// ends in .yaml, .yml or .json is read as a file. Errors: not_found listing the names; argument naming the
/// key and the value.
Cluster find_cluster(const std::string& text);

/// Throws Error(argument) naming the first figure that no machine can have.
void check_cluster(const Cluster& cluster);

/// All members as a JSON object that find_cluster() reads back.
std::string to_json(const Cluster& cluster);

}  // namespace tessera
