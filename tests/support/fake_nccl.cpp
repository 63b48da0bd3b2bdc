// NCCL for the fake device: communicators that never block, and memory that they know of.
#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>
#include <cstring>

#include "core/error.h"
#include "fake_nccl_parts.h"

namespace tessera::testing {

fake_nccl_parts::Book& fake_nccl_parts::book() {
  static auto* book = new Book;
  return *book;
}

namespace {

using namespace fake_nccl_parts;  // NOLINT

constexpr int kRemoteError = 6;
constexpr int kInvalidUsage = 5;
constexpr int kUnhandledCudaError = 1;

std::atomic<int> broken_rank{-1};
std::mutex teams_mutex;
std::map<std::string, std::weak_ptr<Team>> teams;
std::atomic<uint64_t> ids{1};

/// Every rank has the device of its number.
int current_rank() {
  return c10::impl::VirtualGuardImpl(c10::kPrivateUse1).getDevice().index();
}

const char* error_text(int result) {
  return result == kRemoteError ? "remote error" : "invalid usage";
}
const char* last_error(void*) {
  return "the fake network is down";
}

int unique_id(void* id) {
  std::memset(id, 0, kNcclIdBytes);
  const uint64_t number = ids++;
  std::memcpy(id, &number, sizeof number);
  return kNcclSuccess;
}

void remember(const FakeComm& comm) {
  const std::lock_guard lock(book().mutex);
  book().alive.insert(&comm);
}

int init(void** handle, int ranks, const void* id, int rank, const char*) {
  const std::string key(static_cast<const char*>(id), kNcclIdBytes);
  auto comm = std::make_shared<FakeComm>();
  {
    const std::lock_guard lock(teams_mutex);
    comm->team = teams[key].lock();
    if (!comm->team) {
      teams[key] = comm->team = std::make_shared<Team>();
      comm->team->ranks = ranks;
    }
  }
  comm->rank = rank;
  comm->world_rank = current_rank();
  {
    const std::lock_guard lock(comm->team->mutex);
    ++comm->team->joined;
  }
  remember(*comm);
  *handle = new FakeCommPtr(comm);
  return comm->team->ranks == ranks ? kNcclInProgress : kInvalidUsage;
}

int split(void* parent, int color, int key, const char*, void** place) {
  FakeComm& comm = *comm_of(parent);
  const std::lock_guard lock(comm.team->mutex);
  comm.color = color;
  comm.key = key;
  comm.place = place;
  comm.team->splits[comm.split_round].wishes[comm.rank] = {color, key};
  return kNcclInProgress;
}

/// Ends a split when all ranks have come to it.
void finish_split(FakeComm& comm) {
  Team::Split& split = comm.team->splits[comm.split_round];
  if (comm.place == nullptr || static_cast<int>(split.wishes.size()) < comm.team->ranks) return;
  void** place = std::exchange(comm.place, nullptr);
  ++comm.split_round;
  if (comm.color < 0) return;
  int before = 0;
  int members = 0;
  for (const auto& [rank, wish] : split.wishes) {
    if (wish.first != comm.color) continue;
    ++members;
    before += std::pair(wish.second, rank) < std::pair(comm.key, comm.rank) ? 1 : 0;
  }
  auto child = std::make_shared<FakeComm>();
  std::shared_ptr<Team>& team = split.teams[comm.color];
  if (!team) {
    team = std::make_shared<Team>();
    team->ranks = members;
  }
  child->team = team;
  child->rank = before;
  child->world_rank = comm.world_rank;
  {
    const std::lock_guard lock(team->mutex);
    ++team->joined;
  }
  remember(*child);
  *place = new FakeCommPtr(child);
}

int state(void* handle, int* result) {
  FakeComm& comm = *comm_of(handle);
  const std::lock_guard lock(comm.team->mutex);
  if (comm.world_rank == broken_rank.load()) {
    *result = kRemoteError;
    return kNcclSuccess;
  }
  finish_split(comm);
  *result = busy(comm) ? kNcclInProgress : kNcclSuccess;
  if (comm.lag > 0) --comm.lag;
  return kNcclSuccess;
}

/// Once for each rank; under the team's lock.
void count_end(FakeComm& comm) {
  if (!std::exchange(comm.ended, true)) ++comm.team->ended;
  comm.team->changed.notify_all();
}

int finalize(void* handle) {
  FakeComm& comm = *comm_of(handle);
  {
    const std::lock_guard lock(book().mutex);
    if (!comm.registered.empty()) note_violation("a communicator was finalized with registered memory");
  }
  const std::lock_guard lock(comm.team->mutex);
  comm.lag = 2;
  count_end(comm);
  return kNcclInProgress;
}

/// What NCCL leaves behind where it cleans up for other ranks of the process.
void leave_another_device() {
  c10::impl::VirtualGuardImpl(c10::kPrivateUse1).setDevice(c10::Device(c10::kPrivateUse1, 63));
}

void forget(FakeComm& comm) {
  const std::lock_guard lock(book().mutex);
  book().counted.held -= static_cast<int>(comm.registered.size());
  comm.registered.clear();
  comm.in_use.clear();
  book().alive.erase(&comm);
}

/// Waits for the other ranks' finalize, as NCCL's proxy threads do.
int destroy(void* handle) {
  const FakeCommPtr comm = comm_of(handle);
  {
    std::unique_lock lock(comm->team->mutex);
    count_end(*comm);
    comm->team->changed.wait(lock, [&] { return comm->team->ended == comm->team->ranks; });
  }
  forget(*comm);
  leave_another_device();
  delete static_cast<FakeCommPtr*>(handle);
  return kNcclSuccess;
}

int abort_comm(void* handle) {
  const FakeCommPtr comm = comm_of(handle);
  comm->aborted.store(true);
  {
    const std::lock_guard lock(comm->team->mutex);
    count_end(*comm);
  }
  forget(*comm);
  leave_another_device();
  delete static_cast<FakeCommPtr*>(handle);
  return kNcclSuccess;
}

int memory_new(void** memory, size_t bytes) {
  try {
    *memory = allocate_device(bytes);
  } catch (const Error&) {
    return kUnhandledCudaError;
  }
  const std::lock_guard lock(book().mutex);
  book().own_memory[static_cast<std::byte*>(*memory)] = bytes;
  return kNcclSuccess;
}

int memory_free(void* memory) {
  auto* begin = static_cast<std::byte*>(memory);
  {
    const std::lock_guard lock(book().mutex);
    const size_t bytes = book().own_memory.at(begin);
    book().own_memory.erase(begin);
    for (const FakeComm* comm : book().alive) {
      if (overlaps(comm->in_use, begin, bytes)) note_violation("memory was freed while an operation used it");
      if (comm->registered.contains(begin)) note_violation("memory was freed while it was registered");
    }
  }
  release_device(memory);
  return kNcclSuccess;
}

int register_memory(void* handle, void* memory, size_t bytes, void** registration) {
  FakeComm& comm = *comm_of(handle);
  const std::lock_guard lock(book().mutex);
  if (comm.world_rank == book().refusing_rank && ++book().attempts >= book().refused_from)
    return kUnhandledCudaError;
  comm.registered[static_cast<std::byte*>(memory)] = bytes;
  ++book().counted.made;
  ++book().counted.held;
  *registration = memory;
  return kNcclSuccess;
}

int deregister_memory(void* handle, void* registration) {
  FakeComm& comm = *comm_of(handle);
  const std::lock_guard lock(book().mutex);
  const auto found = comm.registered.find(static_cast<std::byte*>(registration));
  if (found == comm.registered.end()) {
    note_violation("memory was deregistered that was not registered");
    return kInvalidUsage;
  }
  if (overlaps(comm.in_use, found->first, found->second))
    note_violation("memory was deregistered while an operation used it");
  comm.registered.erase(found);
  --book().counted.held;
  return kNcclSuccess;
}
}  // namespace

void break_connections(int rank) {
  broken_rank.store(rank);
}

const NcclApi& fake_nccl() {
  static const NcclApi api{
      22809,      error_text,     last_error,      unique_id,        init,        split,
      state,      finalize,       destroy,         abort_comm,       group_start, group_end,
      all_gather, reduce_scatter, all_reduce,      broadcast,        send,        recv,
      memory_new, memory_free,    register_memory, deregister_memory};
  return api;
}

Registrations registrations() {
  const std::lock_guard lock(book().mutex);
  return book().counted;
}

void refuse_registration(int rank, int from_attempt) {
  const std::lock_guard lock(book().mutex);
  book().refusing_rank = rank;
  book().refused_from = from_attempt;
}

void forget_registrations() {
  const std::lock_guard lock(book().mutex);
  book().counted = {};
  book().refusing_rank = -1;
  book().attempts = 0;
}

}  // namespace tessera::testing
