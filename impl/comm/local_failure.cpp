// How a local group fails: once, with one cause for all ranks, and without taking memory away from a reader.
#include <sched.h>

#include <limits>

#include "comm/local_group.h"
#include "comm/local_operation.h"
#include "core/error.h"

namespace tessera {

/// The first caller among all ranks wins; later causes are dropped.
void LocalGroup::record_failure(Code code, int world_rank, const std::string& text) {
  local::Header& header = layout_.header();
  uint32_t expected = 0;
  if (!header.failure.compare_exchange_strong(expected, 1)) return;
  header.failure_code.store(static_cast<int32_t>(code));
  header.failure_rank.store(world_rank);
  header.failure_text.write(text);
  header.failure.store(2);
  ring_peers();
}

void LocalGroup::fail_mismatch(const std::string& text, int group_rank) {
  record_failure(Code::collective_mismatch, world_rank(group_rank), text);
}

/// Throws the recorded failure. The lock is held; operations under way are given up.
void LocalGroup::raise_failure() {
  local::Header& header = layout_.header();
  for (int spins = 0; header.failure.load() == 1 && spins < 100'000; ++spins) sched_yield();
  await_readers();
  queue_.clear();
  draining_.clear();
  messages_.clear();
  const std::string text = header.failure_text.read();
  seat_->remember_failure(text);
  throw Error(static_cast<Code>(header.failure_code.load()), text, header.failure_rank.load());
}

void LocalGroup::check_usable() {
  if (failed()) {
    const Lock lock(mutex_);
    raise_failure();
  }
  if (!seat_->anyone_departed()) return;
  TESSERA_CHECK(seat_->presence(seat_->rank()) != Presence::closed, state, "group ", name(),
                ": the world of rank ", seat_->rank(), " is closed");
  TESSERA_CHECK(!seat_->departed(), state, "group ", name(), ": rank ", seat_->rank(), " has left its world");
}

/// Announces that this rank reads memory of its peers. False when the group has failed or a peer is gone,
/// whose memory may be gone too; the announcement and the peer's farewell are sequentially consistent, so one
/// sees the other.
bool LocalGroup::begin_reading() {
  own_seat().reading.store(1);
  bool safe = !failed();
  if (safe && seat_->anyone_departed()) {
    for (int r : world_ranks()) {
      const Presence presence = seat_->presence(r);
      if (presence != Presence::left && presence != Presence::aborted) continue;
      safe = false;
      if (r == seat_->rank()) {
        record_failure(Code::peer_failed, r,
                       cat("group ", name(), ": rank ", r, " itself has left its world"));
        break;
      }
      const auto failure = seat_->failure_for({r});
      if (failure)
        record_failure(Code::peer_failed, failure->rank, cat("group ", name(), ": ", failure->text));
      break;
    }
  }
  if (!safe) own_seat().reading.store(0);
  return safe;
}

/// False when a failure during the reading makes its result doubtful.
bool LocalGroup::end_reading() {
  own_seat().reading.store(0);
  return !failed();
}

/// Waits until no peer reads this rank's memory. Reading never blocks, so this takes one copy at most.
/// Processes keep their own mappings of what they read and need not be waited for.
void LocalGroup::await_readers() const {
  if (!seat_->same_address_space()) return;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    while (layout_.seat(r).reading.load() != 0) sched_yield();
  }
}

}  // namespace tessera
