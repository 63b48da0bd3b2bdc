// The full weights of FSDP units in the compute dtype: how they come to be there, behind one interface with
// three strategies: memory that all ranks of the group share, a gather that copies, or one rank's cast.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "comm/group.h"
#include "parallel/fsdp_layout.h"

namespace tessera {

/// gather -> wait -> full() ... -> release | reshard, per unit. Collective in the same order on all ranks.
class WeightStorage {
 public:
  virtual ~WeightStorage() = default;

  /// Offloaded shards start on their way to the device; nothing otherwise. A gather does it where it was not
  /// done before.
  virtual void fetch(int /*unit*/) {}
  /// Starts making the unit's full weights available. Nothing happens when they already are.
  virtual void gather(int unit) = 0;
  virtual void wait(int unit) = 0;
  /// The full weights are no longer needed.
  virtual void release(int unit) = 0;
  /// Like release, but the next gather may need a part of the ranks only (reshard_after_forward = n).
  virtual void reshard(int unit) { release(unit); }
  /// The flat full buffer (parallel/fsdp_layout.h), between wait and release.
  virtual const at::Tensor& full(int unit) const = 0;
  /// True when full() stays valid for ever, so that views of it need to be made only once.
  virtual bool persistent() const = 0;

  /// Where this rank writes parameter `param` of `unit`, in the dtype in which shards rest: its real
  /// elements, 1-D.
  virtual at::Tensor own_chunk(int unit, size_t param) const = 0;
  /// All ranks have written their chunks, and none computes: what follows from the weights of all of them
  /// (scales) is formed. Collective.
  virtual void publish() {}
  /// Where weights are gathered in float8: what multiplies the values of a parameter, float32 [1, 1], since
  /// the last publish(); undefined elsewhere.
  virtual at::Tensor scale(int /*unit*/, size_t /*param*/) const { return {}; }
  /// True when own_chunk lies in memory that other ranks read: then a rank writes only while no rank
  /// computes, and all ranks meet (a barrier or any all-reduce) before the next gather.
  virtual bool shared() const = 0;
};

struct WeightStorageOptions {
  at::ScalarType dtype = at::kFloat;
  bool force_copy = false;  ///< gather by copying even where memory is shared
  GroupPtr reshard_group;   ///< n consecutive ranks of the group, for reshard(); null: reshard releases
  bool offload = false;     ///< of groups on a device: shards rest in host memory
  /// Shards rest in this dtype, and each gather casts them (FSDP2's way): own_chunk() is the master weight,
  /// beside which no other copy exists. Absent: in `dtype`. Where casts_weights() says so.
  std::optional<at::ScalarType> rest;
};

/// True when a gather over `group` moves data, or an offloaded shard.
bool copies_weights(const Group& group, const WeightStorageOptions& options);

/// True when a gather over `group` can be the cast of shards that rest in another dtype: not into memory that
/// ranks share, nor from host memory.
bool casts_weights(const Group& group, const WeightStorageOptions& options);

/// Chooses by copies_weights() and options.rest. Collective.
std::unique_ptr<WeightStorage> make_weight_storage(const GroupPtr& group,
                                                   const std::vector<FsdpLayout>& layouts,
                                                   const WeightStorageOptions& options);

}  // namespace tessera
