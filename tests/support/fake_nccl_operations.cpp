// The fake NCCL's operations: they run when a stream is waited for, and note what would race.
#include <algorithm>
#include <cstring>

#include "comm/reduce.h"
#include "core/error.h"
#include "fake_nccl_parts.h"

namespace tessera::testing::fake_nccl_parts {
namespace {

thread_local std::vector<Call> group;
thread_local FakeComm* group_comm = nullptr;
thread_local void* group_stream = nullptr;

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

/// Notes what `calls` read and write until done().
void use(FakeComm& comm, std::vector<Call>& calls) {
  const std::lock_guard lock(book().mutex);
  for (Call& call : calls) {
    if (call.in_bytes > 0) comm.in_use.emplace(static_cast<const std::byte*>(call.in), call.in_bytes);
    if (call.out_bytes > 0) comm.in_use.emplace(static_cast<const std::byte*>(call.out), call.out_bytes);
    if (call.kind == Kind::all_gather) call.registered = comm.has_registered(call.out, call.out_bytes);
    if (call.kind == Kind::reduce_scatter) call.registered = comm.has_registered(call.in, call.in_bytes);
    if (call.kind == Kind::all_gather && call.registered) ++book().counted.used_gather;
    if (call.kind == Kind::reduce_scatter && call.registered) ++book().counted.used_reduce;
    const bool could = call.kind == Kind::all_gather || call.kind == Kind::reduce_scatter;
    if (could && !call.registered) ++book().counted.plain;
  }
}

void done(FakeComm& comm, const std::vector<Call>& calls) {
  const std::lock_guard lock(book().mutex);
  const auto drop = [&](const void* memory, size_t bytes) {
    const auto [begin, end] = comm.in_use.equal_range(static_cast<const std::byte*>(memory));
    const auto found = std::find_if(begin, end, [&](const auto& use) { return use.second == bytes; });
    if (found != end) comm.in_use.erase(found);
  };
  for (const Call& call : calls) {
    drop(call.in, call.in_bytes);
    drop(call.out, call.out_bytes);
  }
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
      if (mine[here].registered != theirs[there].registered) {
        note_violation(cat("rank ", comm.world_rank, ": registered here and not on a peer, or the reverse"));
        return false;
      }
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
  done(*comm, all.at(comm->rank));
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
      comm.pairs.emplace(comm.rank, call.peer);
    } else {
      comm.pairs.emplace(call.peer, comm.rank);
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
  done(*comm, calls);
}

int add(Call call, void* handle, void* stream) {
  group_comm = comm_of(handle).get();
  group_stream = stream;
  group.push_back(std::move(call));
  return kNcclSuccess;
}

}  // namespace

bool overlaps(const std::multimap<const std::byte*, size_t>& blocks, const std::byte* begin, size_t bytes) {
  return std::any_of(blocks.begin(), blocks.end(), [&](const auto& block) {
    return block.first < begin + bytes && begin < block.first + block.second;
  });
}

bool busy(const FakeComm& comm) {
  Team& team = *comm.team;
  if (team.joined < team.ranks || comm.place != nullptr || comm.lag > 0) return true;
  if (comm.next > 0 && team.called < team.ranks) return true;
  return std::any_of(comm.pairs.begin(), comm.pairs.end(), [&](const auto& pair) {
    const Team::Channel& channel = team.channels.at(pair);
    return channel.sent.empty() || channel.wanted.empty();
  });
}

int group_start() {
  group.clear();
  group_comm = nullptr;
  return kNcclSuccess;
}

int group_end() {
  if (group_comm == nullptr) return kNcclSuccess;
  {
    const std::lock_guard lock(group_comm->team->mutex);
    if (busy(*group_comm)) note_violation("a communicator was called before it had taken the last call over");
  }
  use(*group_comm, group);
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
  if (!follows_all_computed(reinterpret_cast<int64_t>(group_stream)))
    note_violation("a collective does not wait for what was computed before it");
  const uint64_t sequence = comm->next++;
  {
    const std::lock_guard lock(comm->team->mutex);
    comm->team->posted[sequence][comm->rank] = std::move(group);
    if (sequence == 0) ++comm->team->called;
    comm->lag = static_cast<int>(sequence % 2);
    comm->team->changed.notify_all();
  }
  group.clear();
  queue_on_stream(reinterpret_cast<int64_t>(group_stream), [comm, sequence] { run(comm, sequence); });
  return kNcclInProgress;
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

}  // namespace tessera::testing::fake_nccl_parts
