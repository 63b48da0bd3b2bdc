// Where the parameters of an FSDP unit lie: in the unit's full (gathered) buffer and in this rank's flat
// shards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "nn/unit.h"
#include "tensor/placement.h"

namespace tessera {

/// One parameter of an FSDP unit. In the full buffer the chunks of all ranks follow each other, so that the
/// first rows of them are the weight itself: gathering writes straight into the final layout, nothing is
/// copied out.
struct FsdpParam {
  ParamSpec spec;
  /// False for experts that other ranks of ep hold: then the part is empty.
  bool held = true;
  size_t domain = 0;  ///< domain_of(spec)
  size_t slot = 0;    ///< where it is among the unit's held parameters of that domain, exact ones left out
  std::vector<int64_t> part_shape;  ///< of the tp part
  RowShard shard;                   ///< this rank's rows
  int64_t shards = 1;               ///< ranks that share the tp part
  int64_t full_offset = 0;          ///< elements into the full buffer
  int64_t shard_offset = 0;         ///< elements into flat shard buffers

  int64_t full_numel() const { return shards * shard.padded_numel(); }

  /// [shards * chunk] of the full buffer: what a gather fills and a reduction reads.
  at::Tensor all_chunks(const at::Tensor& full) const;
  /// The weight, shaped part_shape, as a view of the full buffer.
  at::Tensor weight(const at::Tensor& full) const;
  /// This rank's chunk with padding, in a flat shard buffer.
  at::Tensor padded_chunk(const at::Tensor& flat) const;
  /// This rank's real elements in a flat shard buffer, 1-D.
  at::Tensor chunk(const at::Tensor& flat) const;
};

/// The FSDP unit: consecutive model units (its members) and all their parameters.
struct FsdpLayout {
  int first_member = 0;
  int members = 0;
  std::vector<FsdpParam> params;
  std::vector<int> first_param;  ///< of each member, in params
  int64_t full_numel = 0;        ///< elements of the full buffer, padding included
  int64_t shard_numel = 0;       ///< elements of a flat shard buffer, padding included
};

/// Where this rank stands in a domain (parallel/shard_domain.h): its tp part, and its shard of it.
struct ShardPosition {
  int64_t tp_index = 0;
  int64_t tp_size = 1;
  int64_t shard_index = 0;
  int64_t shards = 1;
  int64_t ep_index = 0;  ///< which experts it holds
};

/// Elements that a parameter of so many takes up in a buffer.
int64_t aligned_numel(int64_t elements);

/// The domain of a parameter: 0 of what all ranks share, 1 of experts.
inline size_t domain_of(const ParamSpec& spec) {
  return spec.ep_index < 0 ? 0 : 1;
}

/// The box of `spec` that a rank owns; empty for another rank's expert.
Box owned_box(const ParamSpec& spec, const ShardPosition& position);

/// Lays out the groups that begin at `starts` (parallel/unit_policy.h). Units that `held` says no to, those
/// of other pipeline stages, have no parameters here; an empty list holds all. `positions` are by domain.
std::vector<FsdpLayout> make_layouts(const std::vector<std::unique_ptr<Unit>>& units,
                                     const std::vector<int>& starts,
                                     const std::vector<ShardPosition>& positions,
                                     const std::vector<bool>& held = {});

/// The held parameters that `has` says yes to, one behind the other in buffers of their own. Exact ones
/// (ParamSpec::exact) are in no buffer.
std::vector<FsdpLayout> select_params(const std::vector<FsdpLayout>& layouts,
                                      const std::function<bool(const FsdpParam&)>& has);
/// Those of one domain, by slot.
std::vector<FsdpLayout> domain_layouts(const std::vector<FsdpLayout>& layouts, size_t domain);

}  // namespace tessera
