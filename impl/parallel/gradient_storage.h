// Gradients of FSDP units: unsharded buffers that backwards write into, and the float32 shards that
// reductions leave.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "comm/group.h"
#include "kernels/device_copy.h"
#include "parallel/fsdp_layout.h"

namespace tessera {

/// Parameters whose gradients are partial sums over `group` (ParamSpec::tp_partial).
struct PartialGradients {
  struct Address {
    int unit;
    size_t param;
  };
  GroupPtr group;
  std::vector<Address> params;
};

struct GradientOptions {
  at::ScalarType compute = at::kFloat;  ///< dtype of a single micro-batch's gradients
  at::ScalarType reduce = at::kFloat;   ///< dtype in which ranks add up
  std::vector<PartialGradients> partial;
  bool offload = false;  ///< of groups on a device: shards rest in host memory
  bool keep = false;     ///< on a device: shards keep their memory over all steps, for CUDA graphs
};

/// A step: begin(); per unit and round target() ... reduce(), wait_reduce() [, reduce_replicas(),
/// wait_replicas()] [, offload() after the last round]; end(). Steps add to the shards until zero().
/// Collective in the same order on all ranks.
///
/// On a device a step that overwrites gives the shards' memory back where it begins, and a unit's is taken
/// again when its first gradient comes: until then activations have it. Views stay valid, and hold the last
/// step's values between steps.
///
/// Loss gradients are scaled by the global label count before backward, so every reduction is a sum.
class GradientStorage {
 public:
  /// `replicas` is null or the dp_replicate group.
  GradientStorage(GroupPtr group, GroupPtr replicas, const std::vector<FsdpLayout>& layouts,
                  const GradientOptions& options);
  ~GradientStorage();

  /// `accumulate`: rounds take contributions of several micro-batches, which are added in float32 (FSDP2
  /// accumulates unsharded gradients in the reduce dtype); otherwise a buffer holds the compute dtype. One
  /// rank's are always float32.
  void begin(bool accumulate);
  /// Adds up what is partial over tp, then adds the step to the shards. Collective.
  void end();
  /// Drops what a step that failed has left under way. The gradients are zero afterwards.
  void abandon();

  /// Starts a round of the unit unless one is open. Buffers may be made here, which is collective: call it
  /// where the program says so, not where this rank's data first needs it.
  void open(int unit);
  /// The unsharded gradient of a weight, shaped like it. Sets `first` when the round (of one rank: the step)
  /// has not written to it yet, so that the caller must overwrite; the weight counts as written from here on.
  at::Tensor target(int unit, size_t param, bool& first);

  void reduce(int unit);
  void wait_reduce(int unit);
  void reduce_replicas(int unit);
  void wait_replicas(int unit);
  /// Offloaded: the unit's shard of this step is complete and starts on its way to host memory. end() does it
  /// where it was not done, and waits.
  void offload(int unit);

  /// Between begin() and end(), instead of rounds: all have run, on a device that was told so before (a CUDA
  /// graph of them). Without peers.
  void assume_reduced();

  /// All gradients are zero (no memory is touched: the next step overwrites).
  void zero();
  /// This rank's real elements of a gradient, float32, 1-D. The tensor stays; its memory may be another from
  /// step to step, and is absent from begin() to the unit's first gradient. When empty() is true its values
  /// mean nothing.
  at::Tensor shard(int unit, size_t param) const;
  at::Tensor padded_shard(int unit, size_t param) const;
  bool empty() const { return empty_; }
  /// Bytes of the unsharded buffers made so far.
  int64_t buffer_bytes() const { return buffer_bytes_; }

 private:
  struct Buffer {
    at::Tensor bytes;      // uint8
    WorkPtr readers;       // the reduction that may still be reading it
    int64_t freed_at = 0;  // count of reductions when it came back
  };
  struct UnitState {
    at::Tensor shard;  // float32, flat: the gradient
    // Where this step reduces to: shard, or apart when the shard holds earlier steps. Offloaded: memory of
    // the device, from the first reduction until it has been copied to `home`.
    at::Tensor current;
    at::Tensor home;  // offloaded: shard, or apart
    bool current_written = false;
    Buffer buffer;    // of the open round
    at::Tensor full;  // typed view of it
    std::vector<bool> written;
    at::Tensor source;   // full in the reduce dtype, where that differs, while it is reduced
    at::Tensor scratch;  // flat output of a reduction that must be added or cast
    WorkPtr work;
    WorkPtr replica_work;
  };

  void sum_partial();
  bool trains(int unit) const;
  void make_current(int unit);
  void bring_home();
  void open_round(int unit);
  Buffer acquire(int64_t bytes);
  void finish_round(UnitState& state);
  /// Without peers there is nothing to reduce: backwards write into the shard, in float32, and the rounds of
  /// a step are one.
  bool alone() const { return group_->size() == 1; }

  GroupPtr group_;
  GroupPtr replicas_;
  const std::vector<FsdpLayout>& layouts_;
  GradientOptions options_;
  at::ScalarType dtype_ = at::kFloat;  // of this step's unsharded buffers
  std::vector<UnitState> units_;
  std::map<int64_t, std::deque<Buffer>> pool_;  // by bytes
  std::map<int64_t, int> made_;                 // buffers of a size
  std::unique_ptr<CopyStream> download_;        // of offloaded shards
  CopyWindow leaving_{2};
  int64_t reductions_ = 0;
  int64_t buffer_bytes_ = 0;
  bool returns_ = false;  // memory of shards is given back
  bool empty_ = true;
};

}  // namespace tessera
