// Collectives among ranks of one host through shared memory: ranks announce where their inputs lie, and each
// rank reads what it needs from its peers.
#pragma once

#include <c10/util/FunctionRef.h>

#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/fingerprint.h"
#include "comm/group.h"
#include "comm/local_layout.h"
#include "comm/local_seat.h"
#include "comm/staging.h"
#include "core/error.h"

namespace tessera {

/// How it works. Every rank numbers the operations of a group. start() writes fingerprint and addresses into
/// the rank's slot of that number and moves its `posted` counter on; it never waits for peers unless kRing
/// operations are under way. Work::wait() waits until all have posted, compares the fingerprints, and does
/// this rank's share on the calling thread. Results do not depend on timing: reductions run over the ranks in
/// order.
///
/// Failure. The first rank that sees one writes it into the group's header; from then on every call of every
/// rank ends with it. Before the error reaches the caller, the rank waits until no peer reads its memory any
/// more.
class LocalGroup final : public Group, public std::enable_shared_from_this<LocalGroup> {
 public:
  LocalGroup(std::string name, std::string key, int rank, std::vector<int> world_ranks,
             std::shared_ptr<LocalSeat> seat, SharedMemoryPtr memory);

  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override;
  WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                         ReduceOp op) override;
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override;
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in, const std::vector<int64_t>& out_splits,
                     const std::vector<int64_t>& in_splits) override;
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override;
  WorkPtr send(const at::Tensor& tensor, int destination, int tag) override;
  WorkPtr recv(const at::Tensor& tensor, int source, int tag) override;
  void barrier() override;

  bool shares_memory() const override { return true; }
  at::Tensor allocate_shared(int64_t bytes) override;
  SharedBlocks allocate_symmetric(int64_t bytes) override;

  /// Does what can be done without waiting; for waits in other groups. Keeps failures for later.
  void progress_quietly();
  /// Waits for all operations under way.
  void drain();
  /// Forgets operations under way once no peer reads this rank's memory. Never waits for a peer to arrive.
  void leave();

 private:
  struct Operation;
  struct Message;
  using OperationPtr = std::shared_ptr<Operation>;
  using MessagePtr = std::shared_ptr<Message>;
  using Lock = std::lock_guard<std::mutex>;

  // local_group.cpp: the order of operations
  OperationPtr start(OperationPtr operation);
  void post(Operation& operation);
  bool slot_is_free(uint64_t sequence) const;
  void wait(Operation& operation, bool for_inputs);
  void progress();
  bool step(Operation& operation);
  bool try_step(Operation& operation);
  bool all_posted(Operation& operation);
  bool all_reached(std::atomic<uint64_t> local::Seat::* counter, uint64_t sequence) const;
  std::vector<int> missing_ranks(const Operation& operation) const;
  void wait_for(c10::function_ref<bool()> done, c10::function_ref<std::vector<int>()> missing,
                c10::function_ref<std::string()> what);

  // local_failure.cpp
  bool failed() const { return layout_.header().failure.load() != 0; }
  void record_failure(Code code, int world_rank, const std::string& text);
  [[noreturn]] void raise_failure();
  void check_usable();
  bool begin_reading();
  bool end_reading();
  void await_readers() const;
  void fail_mismatch(const std::string& text, int group_rank);

  // local_ops.cpp: each rank's share of the work
  bool run_first(Operation& operation);
  bool run_second(Operation& operation);
  void gather(Operation& operation);
  void reduce_own_slice(Operation& operation, bool whole);
  void exchange(Operation& operation);
  void copy_from_root(Operation& operation);
  int64_t private_bytes(const at::Tensor& tensor) const;
  const std::byte* allocation_of(const at::Tensor& tensor, uint32_t& index) const;
  local::Entry announce(const at::Tensor& tensor, std::byte* copy_to, local::Where where, uint32_t index,
                        int64_t& used);
  const std::byte* resolve(int peer, const local::Entry& entry, local::Slot* slot);

  // local_mail.cpp
  WorkPtr start_message(MessagePtr message);
  void wait(Message& message);
  void progress_messages();
  bool try_send(Message& message);
  local::Mail* oldest_mail(int source, int64_t tag);
  bool try_receive(Message& message);

  void ring_peers();
  SharedMemoryPtr open_block(const std::string& suffix, int64_t bytes, bool creator);
  int world_rank(int group_rank) const { return world_ranks()[group_rank]; }
  local::Seat& own_seat() const { return layout_.seat(rank()); }

  const std::string key_;
  const std::shared_ptr<LocalSeat> seat_;
  const SharedMemoryPtr memory_;
  const local::Layout layout_;

  std::mutex mutex_;  ///< guards all below
  uint64_t next_ = 1;
  std::deque<OperationPtr> queue_;     ///< announced, outputs not ready; in order
  std::deque<OperationPtr> draining_;  ///< outputs ready, peers may be reading the inputs
  std::list<MessagePtr> messages_;     ///< sends and receives under way, in order of start
  std::vector<uint64_t> sent_;         ///< messages to each rank so far
  int64_t allocations_ = 0;
  Staging staging_;

  /// A block that the ranks allocated together; parts[r] is rank r's part in this address space.
  struct Allocation {
    std::vector<SharedMemoryPtr> parts;
  };
  std::vector<Allocation> allocated_;
};

}  // namespace tessera
