// What the parts of the fake NCCL share: communicators, the calls that they have been given, and the memory
// that they know of.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "comm/cuda_communication.h"
#include "fake_device.h"

namespace tessera::testing::fake_nccl_parts {

enum class Kind { all_gather, reduce_scatter, all_reduce, broadcast, send, recv };

struct Call {
  Kind kind{};
  const void* in = nullptr;
  void* out = nullptr;
  size_t in_bytes = 0;
  size_t out_bytes = 0;
  NcclType type{};
  NcclReduce op{};
  int peer = -1;            // or root
  bool registered = false;  // the memory for which that counts: an all-gather's output, a reduction's input
  std::vector<std::byte> snapshot{};
  size_t message = 0;  // of send and recv: which of this pair and direction

  bool to_one() const { return kind == Kind::send || kind == Kind::recv; }

  bool overlaps() const {
    const auto* i = static_cast<const std::byte*>(in);
    const auto* o = static_cast<const std::byte*>(out);
    return i != nullptr && o != nullptr && i < o + out_bytes && o < i + in_bytes;
  }
};

struct Team;

struct FakeComm : std::enable_shared_from_this<FakeComm> {
  std::shared_ptr<Team> team;
  int rank = 0;
  int world_rank = 0;  // of the rank that made it
  uint64_t next = 0;
  std::atomic<bool> aborted{false};
  // A split under way.
  int split_round = 0;
  int color = -1;
  int key = 0;
  void** place = nullptr;
  int lag = 0;                          // answers of `state` that still say that work is in progress
  bool ended = false;                   // finalized or aborted
  std::set<std::pair<int, int>> pairs;  // from, to: of the messages that it has been called for
  // Guarded by registered_mutex:
  std::map<const std::byte*, size_t> registered;
  std::multimap<const std::byte*, size_t> in_use;  // by operations that have not ended

  bool has_registered(const void* memory, size_t bytes) const {
    const auto* begin = static_cast<const std::byte*>(memory);
    return std::any_of(registered.begin(), registered.end(), [&](const auto& block) {
      return block.first <= begin && begin + bytes <= block.first + block.second;
    });
  }
};
using FakeCommPtr = std::shared_ptr<FakeComm>;

struct Team {
  int ranks = 0;
  std::mutex mutex;
  std::condition_variable changed;
  int joined = 0;
  int called = 0;  // ranks that have posted their first collective
  int ended = 0;   // ranks that have finalized or aborted
  std::map<uint64_t, std::map<int, std::vector<Call>>> posted;
  std::map<uint64_t, int> finished;
  /// Messages from one rank to another, apart from the rest: ranks without any do not take part.
  struct Channel {
    std::vector<std::vector<std::byte>> sent;
    std::vector<size_t> wanted;  // bytes
  };
  std::map<std::pair<int, int>, Channel> channels;
  struct Split {
    std::map<int, std::pair<int, int>> wishes;  // rank -> color, key
    std::map<int, std::shared_ptr<Team>> teams;
  };
  std::map<int, Split> splits;
};

/// Registered memory, of all communicators.
struct Book {
  std::mutex mutex;  ///< guards the rest, and parts of FakeComm
  Registrations counted;
  int refusing_rank = -1;
  int refused_from = 0;
  int attempts = 0;  ///< of the rank that refuses
  std::map<std::byte*, size_t> own_memory;
  std::set<const FakeComm*> alive;
};
Book& book();

bool overlaps(const std::multimap<const std::byte*, size_t>& blocks, const std::byte* begin, size_t bytes);

/// Whether NCCL is still at work on what was called last. It connects ranks when they first call: until all
/// of them do, or both sides of a message, nobody's call is taken over. Under the team's lock.
bool busy(const FakeComm& comm);

inline FakeCommPtr& comm_of(void* handle) {
  return *static_cast<FakeCommPtr*>(handle);
}

// NcclApi's functions.
int group_start();
int group_end();
int all_gather(const void* in, void* out, size_t count, NcclType type, void* comm, void* stream);
int reduce_scatter(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
                   void* stream);
int all_reduce(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
               void* stream);
int broadcast(const void* in, void* out, size_t count, NcclType type, int root, void* comm, void* stream);
int send(const void* data, size_t count, NcclType type, int peer, void* comm, void* stream);
int recv(void* data, size_t count, NcclType type, int peer, void* comm, void* stream);

}  // namespace tessera::testing::fake_nccl_parts
