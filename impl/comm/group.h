// Collectives over an ordered set of ranks: the interface that the engines (local, gloo, nccl) implement.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tessera {

enum class ReduceOp : int { sum = 0, avg = 1, max = 2, min = 3 };

/// A collective under way.
class Work {
 public:
  virtual ~Work() = default;
  /// Blocks until outputs are ready and inputs may be overwritten. Throws Error(timeout | peer_failed |
  /// collective_mismatch) naming the operation and the ranks that are missing. Idempotent.
  virtual void wait() = 0;
  /// Blocks until outputs are ready; peers may still be reading this rank's inputs. Engines that cannot tell
  /// the two apart wait for both.
  virtual void wait_output() { wait(); }
};
using WorkPtr = std::shared_ptr<Work>;

/// One block of memory that several ranks of a host see.
struct SharedBlocks {
  /// blocks[r] is the block of group rank r as a uint8 tensor in this rank's address space.
  std::vector<at::Tensor> blocks;
};

/// An ordered set of ranks. Every rank of the group calls the same operations in the same order; tensors are
/// contiguous, on the group's device, and equal in dtype and element count where the operation needs it. A
/// call that differs between ranks is reported (collective_mismatch), never a hang. Ranks in arguments are
/// group ranks. One thread at a time per rank; groups of different ranks or names are independent.
class Group {
 public:
  virtual ~Group() = default;

  const std::string& name() const { return name_; }
  int rank() const { return rank_; }
  int size() const { return static_cast<int>(world_ranks_.size()); }
  const std::vector<int>& world_ranks() const { return world_ranks_; }

  /// outs[i] holds size() * ins[i].numel() elements, rank after rank. ins[i] may be the view of outs[i] that
  /// belongs to this rank. The lists travel as one operation.
  virtual WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) = 0;

  /// ins[i] holds size() * outs[i].numel() elements; outs[i] receives this rank's part of the reduction. An
  /// output may be float32 where the input is bfloat16 or float16: the sum is then formed and kept in
  /// float32.
  virtual WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                 ReduceOp op) = 0;

  virtual WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) = 0;

  /// Splits count elements of dim 0 per rank; empty means equal parts.
  virtual WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in,
                             const std::vector<int64_t>& out_splits,
                             const std::vector<int64_t>& in_splits) = 0;

  virtual WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) = 0;
  virtual WorkPtr send(const at::Tensor& tensor, int destination, int tag) = 0;
  virtual WorkPtr recv(const at::Tensor& tensor, int source, int tag) = 0;
  virtual void barrier() = 0;

  /// True when the ranks share memory, so that the two functions below work and gathers need no copy.
  virtual bool shares_memory() const { return false; }
  /// Collective. One zeroed block of `bytes` for the whole group: every rank sees the same memory.
  virtual at::Tensor allocate_shared(int64_t bytes);
  /// Collective. One zeroed block of `bytes` per rank, each visible to all. reduce_scatter, all_gather and
  /// all_to_all read inputs that lie in such a block in place.
  virtual SharedBlocks allocate_symmetric(int64_t bytes);

 protected:
  Group(std::string name, int rank, std::vector<int> world_ranks)
      : name_(std::move(name)), rank_(rank), world_ranks_(std::move(world_ranks)) {}

 private:
  std::string name_;
  int rank_;
  std::vector<int> world_ranks_;
};
using GroupPtr = std::shared_ptr<Group>;

}  // namespace tessera
