// One rank's place among the ranks of a host: who is there, who has failed, and the loop in which a rank
// waits.
#pragma once

#include <c10/util/FunctionRef.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/doorbell.h"
#include "comm/shared_memory.h"
#include "comm/world.h"

namespace tessera {

class LocalGroup;

enum class Presence : uint32_t {
  absent = 0,  ///< has not arrived yet
  present = 1,
  closed = 2,   ///< orderly end
  left = 3,     ///< destroyed its world without close
  aborted = 4,  ///< said so, or its process ended
};

/// A rank's part of the world's shared block.
struct alignas(64) SeatBlock {
  Doorbell bell;
  std::atomic<uint32_t> presence{0};
  std::atomic<int32_t> pid{0};
  std::atomic<uint32_t> order{0};  ///< which of the ranks that are not present any more this was, from 1
  SharedText<256> reason;          ///< written before presence becomes left or aborted
  SharedText<128> waiting;         ///< the operation in which the rank sleeps, for the timeouts of others
};

/// The shared block of a world: this header, then one SeatBlock a rank. All zeros is its initial state.
struct alignas(64) WorldBlock {
  std::atomic<uint32_t> departures{0};  ///< number of ranks that are closed, left or aborted
  static size_t bytes(int size) { return sizeof(WorldBlock) + static_cast<size_t>(size) * sizeof(SeatBlock); }
  SeatBlock& seat(int rank) { return reinterpret_cast<SeatBlock*>(this + 1)[rank]; }
};

/// Why a wait cannot end.
struct PeerFailure {
  int rank;
  std::string text;  ///< "rank 2 aborted: ..."
};

class LocalSeat : public std::enable_shared_from_this<LocalSeat> {
 public:
  LocalSeat(WorldOptions options, std::shared_ptr<SharedSpace> space, SharedMemoryPtr memory);
  ~LocalSeat();

  int rank() const { return options_.rank; }
  int size() const { return options_.size; }
  const WorldOptions& options() const { return options_; }
  SharedSpace& space() { return *space_; }
  bool same_address_space() const { return space_->same_address_space(); }

  /// Runs `ready` until it returns true (it may throw to give up): spins for some microseconds, then sleeps
  /// and wakes when a peer rings. Other groups of this rank make progress meanwhile. False when `deadline`
  /// has passed.
  bool wait_until(c10::function_ref<bool()> ready, std::chrono::steady_clock::time_point deadline,
                  c10::function_ref<std::string()> what);
  std::chrono::steady_clock::time_point deadline() const {
    return std::chrono::steady_clock::now() + options_.timeout;
  }

  void ring(int world_rank) { block_->seat(world_rank).bell.ring(); }
  /// Cheap test that some rank is no longer present.
  bool anyone_departed() const { return block_->departures.load() != 0; }
  Presence presence(int world_rank) const {
    return static_cast<Presence>(block_->seat(world_rank).presence.load());
  }
  /// The failure that concerns a wait for `missing` world ranks: the first rank that aborted or died,
  /// wherever it is, or a missing rank that left or closed.
  std::optional<PeerFailure> failure_for(const std::vector<int>& missing) const;
  /// What `world_rank` is waiting in, or an empty text.
  std::string waiting_text(int world_rank) const { return block_->seat(world_rank).waiting.read(); }

  /// Waits until all ranks have taken their seats, then watches their processes. Timeout names the absent
  /// ranks.
  void await_all_present();

  /// For waits outside of groups: throws when one of `ranks` cannot come any more or the deadline has passed.
  void poll(const std::vector<int>& ranks, std::chrono::steady_clock::time_point deadline,
            const std::string& what);

  void depart(Presence how, const std::string& reason);
  bool departed() const { return presence(rank()) != Presence::present; }
  /// Kept as the reason for the others when this rank's world is destroyed after an error.
  void remember_failure(const std::string& text);
  std::string first_failure() const;

  void add_group(const std::shared_ptr<LocalGroup>& group);
  std::vector<std::shared_ptr<LocalGroup>> groups();

  /// Marks ranks whose processes have ended as aborted. Any thread.
  void check_processes();

 private:
  void progress_groups();

  WorldOptions options_;
  std::shared_ptr<SharedSpace> space_;
  SharedMemoryPtr memory_;
  WorldBlock* block_;
  bool crowded_;  ///< more ranks on this host than cores: spinning would only delay the others
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<LocalGroup>> groups_;
  std::string first_failure_;
  std::vector<int> process_fds_;  ///< per world rank; -1 where there is nothing to watch
};

}  // namespace tessera
