// Counts ranks through as (ep_shard, ep).
#include "mesh/expert_layout.h"

#include <algorithm>

#include "core/error.h"

namespace tessera {
namespace {

// The axes whose ranks are counted through.
std::vector<Axis> expert_axes(const Mesh& mesh, bool split_width) {
  std::vector<Axis> axes = {Axis::dp_shard, Axis::cp};
  if (!split_width) axes.push_back(Axis::tp);
  if (mesh.size_of(axes) % mesh.ep() != 0) axes.insert(axes.begin(), Axis::dp_replicate);
  return axes;
}

}  // namespace

int64_t expert_shard_count(const Mesh& mesh, bool split_width) {
  const int64_t count = mesh.size_of(expert_axes(mesh, split_width));
  TESSERA_CHECK(
      count % mesh.ep() == 0, argument, "ep=", mesh.ep(), " does not divide dp*cp", split_width ? "" : "*tp",
      "=", count,
      split_width ? ", the ranks over which experts are spread when parallel.expert_tp cuts them" : "");
  return count / mesh.ep();
}

ExpertLayout expert_layout(const Mesh& mesh, int rank, bool split_width) {
  ExpertLayout layout;
  layout.ep = mesh.ep();
  layout.shards = expert_shard_count(mesh, split_width);
  const std::vector<Axis> axes = expert_axes(mesh, split_width);
  const std::vector<int> copy = mesh.group_ranks(rank, axes);
  const bool copies = axes.front() != Axis::dp_replicate;
  std::vector<int> replicas = copies ? mesh.group_ranks(rank, {Axis::dp_replicate}) : std::vector<int>{rank};
  const int64_t position = std::find(copy.begin(), copy.end(), rank) - copy.begin();
  layout.ep_index = position % layout.ep;
  layout.shard_index = position / layout.ep;
  for (int64_t e = 0; e < layout.ep; ++e) layout.ep_ranks.push_back(copy[layout.shard_index * layout.ep + e]);
  for (int64_t s = 0; s < layout.shards; ++s) {
    layout.shard_ranks.push_back(copy[s * layout.ep + layout.ep_index]);
  }
  layout.replica_ranks = std::move(replicas);
  return layout;
}

}  // namespace tessera
