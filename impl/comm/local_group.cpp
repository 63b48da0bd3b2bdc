// The order of operations in a local group: announcing, waiting and completing. The work itself is in
// local_ops.cpp.
#include "comm/local_group.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "comm/local_operation.h"
#include "core/error.h"

namespace tessera {
namespace {

/// Several operations that the caller started as one.
class JoinedWork final : public Work {
 public:
  explicit JoinedWork(std::vector<WorkPtr> parts) : parts_(std::move(parts)) {}
  void wait() override {
    for (const WorkPtr& part : parts_) part->wait();
  }
  void wait_output() override {
    for (const WorkPtr& part : parts_) part->wait_output();
  }

 private:
  std::vector<WorkPtr> parts_;
};

/// Calls start(first, last) for runs of at most kListLength tensors.
template <class Start>
WorkPtr in_parts(size_t tensors, Start start) {
  constexpr size_t kLength = local::kListLength;
  if (tensors <= kLength) return start(size_t{0}, tensors);
  std::vector<WorkPtr> parts;
  for (size_t first = 0; first < tensors; first += kLength) {
    parts.push_back(start(first, std::min(first + kLength, tensors)));
  }
  return std::make_shared<JoinedWork>(std::move(parts));
}

std::vector<at::Tensor> part(const std::vector<at::Tensor>& list, size_t first, size_t last) {
  return {list.begin() + static_cast<std::ptrdiff_t>(first),
          list.begin() + static_cast<std::ptrdiff_t>(last)};
}

std::vector<const local::SegmentRef*> segment_tables(const local::Layout& layout, int size) {
  std::vector<const local::SegmentRef*> tables(size);
  for (int r = 0; r < size; ++r) tables[r] = layout.seat(r).segments;
  return tables;
}

}  // namespace

LocalGroup::LocalGroup(std::string name, std::string key, int rank, std::vector<int> world_ranks,
                       std::shared_ptr<LocalSeat> seat, SharedMemoryPtr memory)
    : Group(std::move(name), rank, std::move(world_ranks)),
      key_(std::move(key)),
      seat_(std::move(seat)),
      memory_(std::move(memory)),
      layout_(memory_->data(), size()),
      sent_(size(), 0),
      staging_(layout_.seat(rank).segments, segment_tables(layout_, size()), seat_->space().kind()) {}

WorkPtr LocalGroup::all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) {
  check_all_gather(outs, ins, size());
  return in_parts(ins.size(), [&](size_t first, size_t last) {
    auto operation = std::make_shared<Operation>();
    operation->outs = part(outs, first, last);
    operation->ins = part(ins, first, last);
    operation->fingerprint = check_all_gather(operation->outs, operation->ins, size());
    return start(std::move(operation));
  });
}

WorkPtr LocalGroup::reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                   ReduceOp op) {
  check_reduce_scatter(outs, ins, op, size());
  return in_parts(ins.size(), [&](size_t first, size_t last) {
    auto operation = std::make_shared<Operation>();
    operation->outs = part(outs, first, last);
    operation->ins = part(ins, first, last);
    operation->fingerprint = check_reduce_scatter(operation->outs, operation->ins, op, size());
    return start(std::move(operation));
  });
}

WorkPtr LocalGroup::all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  check_all_reduce(tensors, op);
  return in_parts(tensors.size(), [&](size_t first, size_t last) {
    auto operation = std::make_shared<Operation>();
    operation->ins = operation->outs = part(tensors, first, last);
    operation->fingerprint = check_all_reduce(operation->ins, op);
    return start(std::move(operation));
  });
}

WorkPtr LocalGroup::all_to_all(const at::Tensor& out, const at::Tensor& in,
                               const std::vector<int64_t>& out_splits,
                               const std::vector<int64_t>& in_splits) {
  AllToAllPlan plan = check_all_to_all(out, in, out_splits, in_splits, size());
  auto operation = std::make_shared<Operation>();
  operation->outs = {out};
  operation->ins = {in};
  operation->fingerprint = plan.fingerprint;
  operation->out_counts = std::move(plan.out_counts);
  operation->in_counts = std::move(plan.in_counts);
  return start(std::move(operation));
}

WorkPtr LocalGroup::broadcast(const std::vector<at::Tensor>& tensors, int root) {
  check_broadcast(tensors, root, size());
  return in_parts(tensors.size(), [&](size_t first, size_t last) {
    auto operation = std::make_shared<Operation>();
    operation->outs = part(tensors, first, last);
    if (rank() == root) operation->ins = operation->outs;
    operation->fingerprint = check_broadcast(operation->outs, root, size());
    return start(std::move(operation));
  });
}

void LocalGroup::barrier() {
  auto operation = std::make_shared<Operation>();
  operation->fingerprint = {.kind = OpKind::barrier};
  start(std::move(operation))->wait();
}

LocalGroup::OperationPtr LocalGroup::start(OperationPtr operation) {
  check_usable();
  operation->group = shared_from_this();
  operation->seen.assign(size(), false);
  operation->seen[rank()] = true;
  if (!slot_is_free(next_)) {
    wait_for([&] { return slot_is_free(next_); },
             [&] {
               std::vector<int> missing;
               for (int r = 0; r < size(); ++r) {
                 if (r != rank() && layout_.seat(r).finished.load() + local::kRing < next_) {
                   missing.push_back(world_rank(r));
                 }
               }
               return missing;
             },
             [&] { return describe(operation->fingerprint); });
  }
  {
    const Lock lock(mutex_);
    operation->sequence = next_++;
    post(*operation);
    queue_.push_back(operation);
    own_seat().posted.store(operation->sequence);
  }
  ring_peers();
  return operation;
}

/// Slot `sequence % kRing` may be written once all ranks have finished its previous operation.
bool LocalGroup::slot_is_free(uint64_t sequence) const {
  if (sequence <= local::kRing) return true;
  if (own_seat().finished.load() < sequence - local::kRing) return false;
  return all_reached(&local::Seat::finished, sequence - local::kRing);
}

bool LocalGroup::all_reached(std::atomic<uint64_t> local::Seat::* counter, uint64_t sequence) const {
  for (int r = 0; r < size(); ++r) {
    if (r != rank() && (layout_.seat(r).*counter).load() < sequence) return false;
  }
  return true;
}

/// True when all peers have posted this operation. Looks at every peer each time, so that a rank that calls
/// something else is found even while others are missing.
bool LocalGroup::all_posted(Operation& operation) {
  bool all = true;
  for (int r = 0; r < size(); ++r) {
    if (operation.seen[r]) continue;
    if (layout_.seat(r).posted.load() < operation.sequence) {
      all = false;
      continue;
    }
    const Fingerprint& theirs = layout_.slot(r, operation.sequence).fingerprint;
    if (!(theirs == operation.fingerprint)) {
      std::string mine_text = describe(operation.fingerprint);
      const std::string theirs_text = describe(theirs);
      if (mine_text == theirs_text) mine_text += " with other sizes in the list";
      fail_mismatch(cat("group ", name(), ", operation ", operation.sequence, ": rank ", world_rank(rank()),
                        " calls ", mine_text, ", rank ", world_rank(r), " calls ", theirs_text),
                    r);
      return false;
    }
    operation.seen[r] = true;
  }
  return all;
}

/// Does what the arrived peers allow, oldest operation first.
void LocalGroup::progress() {
  while (!queue_.empty() && !failed()) {
    const OperationPtr operation = queue_.front();
    if (!step(*operation)) break;
    queue_.pop_front();
    own_seat().finished.store(operation->sequence);
    if (operation->exposes) {
      draining_.push_back(operation);
    } else {
      operation->complete = true;
      operation->leases.clear();
    }
    // Peers wait for `finished` when their memory is read or their slots run out.
    ring_peers();
  }
  while (!draining_.empty() && all_reached(&local::Seat::finished, draining_.front()->sequence)) {
    draining_.front()->complete = true;
    draining_.front()->leases.clear();
    draining_.pop_front();
  }
  try {
    if (!messages_.empty()) progress_messages();
  } catch (const Error& error) {
    own_seat().reading.store(0);
    record_failure(error.code(), seat_->rank(), cat("messages on group ", name(), ": ", error.what()));
  }
}

/// True when the operation's outputs are ready. What goes wrong here (a peer's memory that cannot be mapped)
/// is a failure of the group.
bool LocalGroup::step(Operation& operation) {
  try {
    return try_step(operation);
  } catch (const Error& error) {
    own_seat().reading.store(0);
    record_failure(error.code(), error.rank() < 0 ? seat_->rank() : error.rank(),
                   cat(describe(operation.fingerprint), " on group ", name(), ": rank ", seat_->rank(), ": ",
                       error.what()));
    return false;
  }
}

bool LocalGroup::try_step(Operation& operation) {
  if (operation.stage == Operation::Stage::posted) {
    if (!all_posted(operation) || !run_first(operation)) return false;
    operation.stage = operation.two_phase ? Operation::Stage::halfway : Operation::Stage::output;
    own_seat().halfway.store(operation.sequence);
    if (operation.two_phase) ring_peers();
  }
  if (operation.stage == Operation::Stage::halfway) {
    if (!all_reached(&local::Seat::halfway, operation.sequence) || !run_second(operation)) return false;
    operation.stage = Operation::Stage::output;
  }
  return true;
}

/// World ranks that keep the operation from its next stage.
std::vector<int> LocalGroup::missing_ranks(const Operation& operation) const {
  std::vector<int> missing;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const local::Seat& seat = layout_.seat(r);
    const auto& counter = operation.stage == Operation::Stage::posted    ? seat.posted
                          : operation.stage == Operation::Stage::halfway ? seat.halfway
                                                                         : seat.finished;
    if (counter.load() < operation.sequence) missing.push_back(world_rank(r));
  }
  return missing;
}

/// Makes progress until done() holds; throws when the group fails, a needed peer is gone or the timeout
/// passes. All three functions are called with the lock held.
void LocalGroup::wait_for(c10::function_ref<bool()> done, c10::function_ref<std::vector<int>()> missing,
                          c10::function_ref<std::string()> what) {
  const auto ready = [&] {
    const Lock lock(mutex_);
    if (done()) return true;
    progress();
    if (done()) return true;
    if (failed()) raise_failure();
    if (seat_->anyone_departed()) {
      const auto failure = seat_->failure_for(missing());
      progress();  // what a peer did before it left still counts
      if (done()) return true;
      if (failure) {
        record_failure(Code::peer_failed, failure->rank,
                       cat(what(), " on group ", name(), ": ", failure->text));
      } else if (seat_->departed()) {
        record_failure(
            Code::peer_failed, seat_->rank(),
            cat(what(), " on group ", name(), ": rank ", seat_->rank(), " itself has left its world"));
      }
      if (failed()) raise_failure();
    }
    return false;
  };
  const auto waiting_in = [&] { return cat(what(), " on group ", name()); };
  if (seat_->wait_until(ready, seat_->deadline(), waiting_in)) return;

  const Lock lock(mutex_);
  progress();
  if (done()) return;
  const std::vector<int> absent = missing();
  std::string text = cat(what(), " on group ", name(), " timed out after ", seat_->options().timeout.count(),
                         " ms: missing");
  for (size_t i = 0; i < absent.size(); ++i) {
    text += cat(i == 0 ? " rank " : ", rank ", absent[i]);
    const std::string elsewhere = seat_->waiting_text(absent[i]);
    if (!elsewhere.empty()) text += cat(" (it waits in ", elsewhere, ")");
  }
  record_failure(Code::timeout, absent.empty() ? -1 : absent.front(), text);
  raise_failure();
}

void LocalGroup::wait(Operation& operation, bool for_inputs) {
  wait_for([&] { return operation.complete || (!for_inputs && operation.stage == Operation::Stage::output); },
           [&] { return missing_ranks(operation); }, [&] { return describe(operation.fingerprint); });
}

void LocalGroup::progress_quietly() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock()) progress();
}

void LocalGroup::drain() {
  wait_for([&] { return queue_.empty() && draining_.empty() && messages_.empty(); },
           [&] {
             if (!queue_.empty()) return missing_ranks(*queue_.front());
             if (!draining_.empty()) return missing_ranks(*draining_.front());
             return std::vector<int>{world_rank(messages_.front()->peer())};
           },
           [&] { return std::string("operations under way"); });
}

void LocalGroup::leave() {
  const Lock lock(mutex_);
  await_readers();
  queue_.clear();
  draining_.clear();
  messages_.clear();
}

void LocalGroup::ring_peers() {
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) seat_->ring(world_rank(r));
  }
}

at::Tensor LocalGroup::allocate_shared(int64_t bytes) {
  TESSERA_CHECK(bytes >= 0, argument, "allocate_shared: bytes=", bytes, " is negative");
  auto operation = std::make_shared<Operation>();
  operation->fingerprint = {.kind = OpKind::allocate_shared, .elements = bytes};
  start(std::move(operation))->wait();

  SharedMemoryPtr memory = open_block(cat("shared", allocations_++), bytes, rank() == 0);
  const Lock lock(mutex_);
  allocated_.push_back({std::vector<SharedMemoryPtr>(size(), memory)});
  return at::from_blob(memory->data(), {bytes}, [memory](void*) {}, at::TensorOptions(at::kByte));
}

SharedBlocks LocalGroup::allocate_symmetric(int64_t bytes) {
  TESSERA_CHECK(bytes >= 0, argument, "allocate_symmetric: bytes=", bytes, " is negative");
  auto operation = std::make_shared<Operation>();
  operation->fingerprint = {.kind = OpKind::allocate_symmetric, .elements = bytes};
  start(std::move(operation))->wait();

  Allocation allocation;
  SharedBlocks result;
  for (int r = 0; r < size(); ++r) {
    SharedMemoryPtr memory = open_block(cat("symmetric", allocations_, ".", r), bytes, rank() == r);
    result.blocks.push_back(
        at::from_blob(memory->data(), {bytes}, [memory](void*) {}, at::TensorOptions(at::kByte)));
    allocation.parts.push_back(std::move(memory));
  }
  ++allocations_;
  const Lock lock(mutex_);
  allocated_.push_back(std::move(allocation));
  return result;
}

SharedMemoryPtr LocalGroup::open_block(const std::string& suffix, int64_t bytes, bool creator) {
  const auto poll = [&, deadline = seat_->deadline()] {
    seat_->poll(world_ranks(), deadline, cat(suffix, " of group ", name()));
  };
  return seat_->space().open(cat(key_, "/", suffix), static_cast<size_t>(bytes), creator, size(), poll);
}

}  // namespace tessera
