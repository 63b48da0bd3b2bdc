// The formulas of the cost model.
#include "simulate/cost_model.h"

#include <algorithm>
#include <cmath>

#include "mesh/expert_layout.h"

namespace tessera {

double CostModel::matmul(int64_t m, int64_t n, int64_t k, double extra_bytes) const {
  if (m <= 0 || n <= 0 || k <= 0) return 0;
  const auto side = [&](int64_t length) {
    return static_cast<double>(length) / (static_cast<double>(length) + cluster_.gemm_half);
  };
  const auto a = static_cast<double>(m);
  const auto b = static_cast<double>(n);
  const auto c = static_cast<double>(k);
  const double rate = peak_flops() * cluster_.gemm_share * side(m) * side(n) * side(k);
  const double bytes = (a * c + c * b + a * b) * static_cast<double>(element());
  // A product is bound by its operations or by its operands; passes around it come on top.
  const double memory = cluster_.memory_bandwidth * cluster_.update_share;
  return std::max(2 * a * b * c / rate, bytes / memory) + extra_bytes / memory + cluster_.launch_seconds;
}

double CostModel::attention(double flops, bool backward) const {
  const double share = backward ? cluster_.attention_backward_share : cluster_.attention_share;
  return flops / (peak_flops() * share) + cluster_.launch_seconds;
}

double CostModel::pass(double bytes, int kernels) const {
  return bytes / (cluster_.memory_bandwidth * cluster_.memory_share) + kernels * cluster_.launch_seconds;
}

double CostModel::update(double bytes) const {
  return bytes / (cluster_.memory_bandwidth * cluster_.update_share) + cluster_.launch_seconds;
}

GroupShape CostModel::shape(const Mesh& mesh, int64_t size, int64_t stride) const {
  const int64_t node = std::min<int64_t>(cluster_.node_devices, mesh.world_size());
  return {size, std::clamp<int64_t>(node / stride, 1, size)};
}

GroupShape CostModel::group(const Mesh& mesh, Axis axis) const {
  int64_t stride = 1;
  for (int inner = kAxisCount - 1; inner > static_cast<int>(axis); --inner) {
    stride *= mesh.size(static_cast<Axis>(inner));
  }
  return shape(mesh, mesh.size(axis), stride);
}

GroupShape CostModel::shard_group(const Mesh& mesh) const {
  return shape(mesh, mesh.size_of({Axis::dp_shard, Axis::cp}), mesh.size(Axis::tp));
}

GroupShape CostModel::expert_group(const Mesh& mesh, bool cut_width) const {
  return shape(mesh, mesh.ep(), cut_width ? mesh.size(Axis::tp) : 1);
}

GroupShape CostModel::expert_shards(const Mesh& mesh, bool cut_width) const {
  const int64_t stride = mesh.ep() * (cut_width ? mesh.size(Axis::tp) : 1);
  return shape(mesh, expert_shard_count(mesh, cut_width), stride);
}

GroupShape CostModel::expert_replicas(const Mesh& mesh, bool cut_width) const {
  const int64_t copies =
      mesh.size_of({Axis::dp_replicate, Axis::dp_shard, Axis::cp, Axis::tp}) /
      (mesh.ep() * expert_shard_count(mesh, cut_width) * (cut_width ? mesh.size(Axis::tp) : 1));
  return copies > 1 ? group(mesh, Axis::dp_replicate) : GroupShape{};
}

// What each rank receives inside its node, and what a node receives from others over its members' cards.
double CostModel::links(const GroupShape& group, double intra_bytes, double inter_bytes) const {
  const double intra = intra_bytes / (cluster_.intra_bandwidth * cluster_.link_share);
  const double inter =
      inter_bytes / (cluster_.inter_bandwidth * cluster_.link_share * static_cast<double>(group.local));
  return std::max(intra, inter);
}

double CostModel::all_gather(const GroupShape& group, double bytes) const {
  if (group.size <= 1) return 0;
  const auto size = static_cast<double>(group.size);
  const auto nodes = static_cast<double>(group.nodes());
  const double hops =
      static_cast<double>(group.local - 1) * cluster_.intra_latency + (nodes - 1) * cluster_.inter_latency;
  return links(group, bytes * (size - 1) / size, bytes * (nodes - 1) / nodes) + hops;
}

double CostModel::all_reduce(const GroupShape& group, double bytes) const {
  if (group.size <= 1) return 0;
  const auto size = static_cast<double>(group.size);
  const auto nodes = static_cast<double>(group.nodes());
  // Trees where a ring would be long.
  const double hops = static_cast<double>(group.local - 1) * cluster_.intra_latency +
                      2 * std::ceil(std::log2(nodes)) * cluster_.inter_latency;
  return links(group, 2 * bytes * (size - 1) / size, 2 * bytes * (nodes - 1) / nodes) + hops;
}

double CostModel::all_to_all(const GroupShape& group, double bytes) const {
  if (group.size <= 1) return 0;
  const auto size = static_cast<double>(group.size);
  const auto local = static_cast<double>(group.local);
  // Nothing is sent twice: of a rank's bytes the share of other nodes goes over its own card.
  const double hops = group.nodes() > 1 ? cluster_.inter_latency : cluster_.intra_latency;
  return links(group, bytes * (local - 1) / size, bytes * (size - local) / size * local) + hops;
}

double CostModel::send(const GroupShape& group, double bytes) const {
  if (group.size <= 1) return 0;
  const bool far = group.local < 2;
  const double bandwidth = far ? cluster_.inter_bandwidth : cluster_.intra_bandwidth;
  return bytes / (bandwidth * cluster_.link_share) + (far ? cluster_.inter_latency : cluster_.intra_latency);
}

}  // namespace tessera
