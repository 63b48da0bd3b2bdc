// NCCL for the fake device: communicators that never block, operations that run when a stream is waited for.
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "comm/reduce.h"
#include "core/error.h"
#include "fake_device.h"

namespace tessera::testing {
namespace {

constexpr int kRemoteError = 6;
constexpr int kInvalidUsage = 5;

std::atomic<int> broken_rank{-1};

enum class Kind { all_gather, reduce_scatter, all_reduce, broadcast, send, recv };

struct Call {
  Kind kind{};
  const void* in = nullptr;
  void* out = nullptr;
  size_t in_bytes = 0;
  size_t out_bytes = 0;
  NcclType type{};
  NcclReduce op{};
  int peer = -1;  // or root
  std::vector<std::byte> snapshot;
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
  int lag = 0;  // answers of `state` that still say that work is in progress
};
using FakeCommPtr = std::shared_ptr<FakeComm>;

struct Team {
  int ranks = 0;
  std::mutex mutex;
  std::condition_variable changed;
  int joined = 0;
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

std::mutex teams_mutex;
std::map<std::string, std::weak_ptr<Team>> teams;
std::atomic<uint64_t> ids{1};

thread_local std::vector<Call> group;
thread_local FakeComm* group_comm = nullptr;
thread_local void* group_stream = nullptr;

/// Every rank has the device of its number.
int current_rank() {
  return c10::impl::VirtualGuardImpl(c10::kPrivateUse1).getDevice().index();
}

FakeCommPtr& comm_of(void* handle) {
  return *static_cast<FakeCommPtr*>(handle);
}

size_t element_size(NcclType type) {
  switch (type) {
    case NcclType::float64:
    case NcclType::int64:
      return 8;
    case NcclType::float32:
    case NcclType::int32:
      return 4;
    case NcclType::float16:
    case NcclType::bfloat16:
      return 2;
    default:
      return 1;
  }
}

c10::ScalarType scalar_type(NcclType type) {
  switch (type) {
    case NcclType::float64:
      return c10::ScalarType::Double;
    case NcclType::int64:
      return c10::ScalarType::Long;
    case NcclType::float32:
      return c10::ScalarType::Float;
    case NcclType::int32:
      return c10::ScalarType::Int;
    case NcclType::float16:
      return c10::ScalarType::Half;
    case NcclType::bfloat16:
      return c10::ScalarType::BFloat16;
    case NcclType::int8:
      return c10::ScalarType::Char;
    default:
      return c10::ScalarType::Byte;
  }
}

ReduceOp reduce_op(NcclReduce op) {
  switch (op) {
    case NcclReduce::max:
      return ReduceOp::max;
    case NcclReduce::min:
      return ReduceOp::min;
    case NcclReduce::avg:
      return ReduceOp::avg;
    default:
      return ReduceOp::sum;
  }
}

void reduce(const Call& call, const std::vector<const std::byte*>& inputs, std::byte* out) {
  const c10::ScalarType type = scalar_type(call.type);
  reduce_slices(reduce_op(call.op), type, type, inputs, out,
                static_cast<int64_t>(call.out_bytes / element_size(call.type)));
}

/// As on a GPU, calls that do not fit each other never end.
bool fits(const std::map<int, std::vector<Call>>& all, const FakeComm& comm) {
  const std::vector<Call>& mine = all.at(comm.rank);
  for (const auto& [rank, theirs] : all) {
    size_t here = 0;
    size_t there = 0;
    for (;; ++here, ++there) {
      if (here == mine.size() || there == theirs.size()) break;
      if (mine[here].kind != theirs[there].kind || mine[here].in_bytes != theirs[there].in_bytes)
        return false;
    }
    if (here != mine.size() || there != theirs.size()) return false;
  }
  return true;
}

void check_memory(const Call& call, int rank) {
  if (call.in != nullptr && !call.overlaps() && call.in_bytes > 0 &&
      std::memcmp(host_address(call.in), call.snapshot.data(), call.in_bytes) != 0) {
    note_violation(cat("rank ", rank, ": an input changed while its operation was under way"));
  }
  if (call.out == nullptr) return;
  const std::byte* out = host_address(call.out);
  for (size_t i = 0; i < call.out_bytes; ++i) {
    if (out[i] == std::byte{0xff}) continue;
    note_violation(cat("rank ", rank, ": an output was written while its operation was under way"));
    return;
  }
}

void perform(const FakeComm& comm, const std::map<int, std::vector<Call>>& all) {
  const std::vector<Call>& mine = all.at(comm.rank);
  for (size_t i = 0; i < mine.size(); ++i) {
    const Call& call = mine[i];
    check_memory(call, comm.world_rank);
    if (call.out == nullptr || call.out_bytes == 0) continue;
    std::byte* out = host_address(call.out);
    std::vector<const std::byte*> inputs;
    switch (call.kind) {
      case Kind::all_gather:
        for (const auto& [rank, calls] : all)
          std::memcpy(out + rank * call.in_bytes, calls[i].snapshot.data(), call.in_bytes);
        break;
      case Kind::reduce_scatter:
        for (const auto& [rank, calls] : all)
          inputs.push_back(calls[i].snapshot.data() + comm.rank * call.out_bytes);
        reduce(call, inputs, out);
        break;
      case Kind::all_reduce:
        for (const auto& [rank, calls] : all) inputs.push_back(calls[i].snapshot.data());
        reduce(call, inputs, out);
        break;
      case Kind::broadcast:
        std::memcpy(out, all.at(call.peer)[i].snapshot.data(), call.out_bytes);
        break;
      case Kind::recv:
      case Kind::send:
        break;
    }
  }
}

/// Runs on the rank's thread when it waits for the stream.
void run(const FakeCommPtr& comm, uint64_t sequence) {
  Team& team = *comm->team;
  std::unique_lock lock(team.mutex);
  const auto given_up = [&] { return comm->aborted.load(); };
  team.changed.wait(
      lock, [&] { return given_up() || static_cast<int>(team.posted[sequence].size()) == team.ranks; });
  if (given_up()) return;
  const auto& all = team.posted[sequence];
  if (!fits(all, *comm)) {
    team.changed.wait(lock, given_up);
    return;
  }
  lock.unlock();
  perform(*comm, all);  // nobody writes to `all` any more, nor erases it before this rank has finished
  lock.lock();
  if (++team.finished[sequence] == team.ranks) {
    team.finished.erase(sequence);
    team.posted.erase(sequence);
  }
}

/// Posts the calls of a group that are all messages.
void post_messages(FakeComm& comm, std::vector<Call>& calls) {
  Team& team = *comm.team;
  const std::lock_guard lock(team.mutex);
  for (Call& call : calls) {
    if (call.kind == Kind::send) {
      Team::Channel& channel = team.channels[{comm.rank, call.peer}];
      call.message = channel.sent.size();
      channel.sent.push_back(call.snapshot);
    } else {
      Team::Channel& channel = team.channels[{call.peer, comm.rank}];
      call.message = channel.wanted.size();
      channel.wanted.push_back(call.out_bytes);
    }
  }
  team.changed.notify_all();
}

/// Messages end when both sides have come, and never when they have other sizes.
void run_messages(const FakeCommPtr& comm, const std::vector<Call>& calls) {
  Team& team = *comm->team;
  std::unique_lock lock(team.mutex);
  const auto given_up = [&] { return comm->aborted.load(); };
  for (const Call& call : calls) {
    const bool sends = call.kind == Kind::send;
    Team::Channel& channel =
        team.channels[sends ? std::pair(comm->rank, call.peer) : std::pair(call.peer, comm->rank)];
    team.changed.wait(lock, [&] {
      return given_up() || (sends ? channel.wanted.size() : channel.sent.size()) > call.message;
    });
    const size_t other = given_up() ? 0
                         : sends    ? channel.wanted[call.message]
                                    : channel.sent[call.message].size();
    if (!given_up() && other != (sends ? call.in_bytes : call.out_bytes)) team.changed.wait(lock, given_up);
    if (given_up()) return;
    check_memory(call, comm->world_rank);
    if (sends || call.out_bytes == 0) continue;
    std::memcpy(host_address(call.out), channel.sent[call.message].data(), call.out_bytes);
  }
}

int add(Call call, void* handle, void* stream) {
  group_comm = comm_of(handle).get();
  group_stream = stream;
  group.push_back(std::move(call));
  return kNcclSuccess;
}

int group_start() {
  group.clear();
  group_comm = nullptr;
  return kNcclSuccess;
}

int group_end() {
  if (group_comm == nullptr) return kNcclSuccess;
  for (Call& call : group) {
    if (call.in == nullptr) continue;
    const std::byte* in = host_address(call.in);
    call.snapshot.assign(in, in + call.in_bytes);
  }
  for (Call& call : group) {
    if (call.out != nullptr) std::memset(host_address(call.out), 0xff, call.out_bytes);
  }
  const FakeCommPtr comm = group_comm->shared_from_this();
  if (std::all_of(group.begin(), group.end(), [](const Call& call) { return call.to_one(); })) {
    post_messages(*comm, group);
    queue_on_stream(reinterpret_cast<int64_t>(group_stream),
                    [comm, calls = std::exchange(group, {})] { run_messages(comm, calls); });
    return kNcclInProgress;
  }
  const uint64_t sequence = comm->next++;
  {
    const std::lock_guard lock(comm->team->mutex);
    comm->team->posted[sequence][comm->rank] = std::move(group);
    comm->lag = static_cast<int>(sequence % 2);
    comm->team->changed.notify_all();
  }
  group.clear();
  queue_on_stream(reinterpret_cast<int64_t>(group_stream), [comm, sequence] { run(comm, sequence); });
  return kNcclInProgress;
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
  const bool busy = comm.team->joined < comm.team->ranks || comm.place != nullptr || comm.lag > 0;
  if (comm.lag > 0) --comm.lag;
  *result = busy ? kNcclInProgress : kNcclSuccess;
  return kNcclSuccess;
}

int finalize(void* handle) {
  FakeComm& comm = *comm_of(handle);
  const std::lock_guard lock(comm.team->mutex);
  comm.lag = 2;
  return kNcclInProgress;
}

int destroy(void* handle) {
  delete static_cast<FakeCommPtr*>(handle);
  return kNcclSuccess;
}

int abort_comm(void* handle) {
  const FakeCommPtr comm = comm_of(handle);
  comm->aborted.store(true);
  {
    const std::lock_guard lock(comm->team->mutex);
    comm->team->changed.notify_all();
  }
  return destroy(handle);
}

int all_gather(const void* in, void* out, size_t count, NcclType type, void* comm, void* stream) {
  const size_t bytes = count * element_size(type);
  const size_t ranks = static_cast<size_t>(comm_of(comm)->team->ranks);
  return add({.kind = Kind::all_gather,
              .in = in,
              .out = out,
              .in_bytes = bytes,
              .out_bytes = bytes * ranks,
              .type = type},
             comm, stream);
}
int reduce_scatter(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
                   void* stream) {
  const size_t bytes = count * element_size(type);
  const size_t ranks = static_cast<size_t>(comm_of(comm)->team->ranks);
  return add({.kind = Kind::reduce_scatter,
              .in = in,
              .out = out,
              .in_bytes = bytes * ranks,
              .out_bytes = bytes,
              .type = type,
              .op = op},
             comm, stream);
}
int all_reduce(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
               void* stream) {
  const size_t bytes = count * element_size(type);
  return add({.kind = Kind::all_reduce,
              .in = in,
              .out = out,
              .in_bytes = bytes,
              .out_bytes = bytes,
              .type = type,
              .op = op},
             comm, stream);
}
int broadcast(const void* in, void* out, size_t count, NcclType type, int root, void* comm, void* stream) {
  const size_t bytes = count * element_size(type);
  return add({.kind = Kind::broadcast,
              .in = in,
              .out = out,
              .in_bytes = bytes,
              .out_bytes = bytes,
              .type = type,
              .peer = root},
             comm, stream);
}
int send(const void* data, size_t count, NcclType type, int peer, void* comm, void* stream) {
  return add(
      {.kind = Kind::send, .in = data, .in_bytes = count * element_size(type), .type = type, .peer = peer},
      comm, stream);
}
int recv(void* data, size_t count, NcclType type, int peer, void* comm, void* stream) {
  return add(
      {.kind = Kind::recv, .out = data, .out_bytes = count * element_size(type), .type = type, .peer = peer},
      comm, stream);
}

}  // namespace

void break_connections(int rank) {
  broken_rank.store(rank);
}

const NcclApi& fake_nccl() {
  static const NcclApi api{22809,      error_text,     last_error, unique_id,  init,        split,
                           state,      finalize,       destroy,    abort_comm, group_start, group_end,
                           all_gather, reduce_scatter, all_reduce, broadcast,  send,        recv};
  return api;
}

}  // namespace tessera::testing
