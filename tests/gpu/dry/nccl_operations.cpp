// Operations of the dry NCCL: one begins when the streams of all its ranks have come to it, and their streams
// go on when it is done. What ranks disagree on, and buffers that leave their memory, are errors.
#include <cstring>

#include "nccl_parts.h"
#include "trace.h"

namespace dry {
namespace {

const char* name(Kind kind) {
  constexpr const char* kNames[] = {"all_gather", "reduce_scatter", "all_reduce",
                                    "broadcast",  "send",           "recv"};
  return kNames[static_cast<int>(kind)];
}

struct Call {
  Comm* comm;
  Kind kind;
  Part part;
  cudaStream_t stream;
  uint64_t number;
};

thread_local int depth = 0;
thread_local std::vector<Call> group;

void finish(Round& round) {
  round.done->done = true;
  advance();
}

bool to_one(Kind kind) {
  return kind == Kind::send || kind == Kind::recv;
}

/// A message moves when both of its sides have come.
void arrive_message(Team& team, const Call& call, const RoundPtr& round) {
  const bool sends = call.kind == Kind::send;
  const int own_rank = call.comm->rank, peer = call.part.peer;
  const auto pair = sends ? std::pair(own_rank, peer) : std::pair(peer, own_rank);
  auto &sent = team.sent[pair], &wanted = team.wanted[pair];
  round->parts[0] = call.part;
  (sends ? sent : wanted).push_back(round);
  if (sent.empty() || wanted.empty()) return;
  const RoundPtr from = sent.front(), to = wanted.front();
  sent.pop_front();
  wanted.pop_front();
  const Part &given = from->parts[0], &taken = to->parts[0];
  const size_t bytes = given.count * size_of(given.type);
  if (bytes != taken.count * size_of(taken.type))
    wrong("a message of another size than its receiver's, bytes", static_cast<long long>(bytes));
  else if (bytes > 0 && bytes <= kMoved)
    std::memmove(reach(taken.out, bytes), reach(given.in, bytes), bytes);
  from->done->done = true;
  finish(*to);
}

/// A collective runs when the last of its ranks has come.
void arrive(const TeamPtr& team, const Call& call, const RoundPtr& round) {
  if (team->aborted) return;
  if (to_one(call.kind)) return arrive_message(*team, call, round);
  round->kind = call.kind;
  round->parts[call.comm->rank] = call.part;
  if (static_cast<int>(round->parts.size()) < team->ranks) return;
  const Part& any = round->parts.begin()->second;
  for (const auto& [rank, other] : round->parts) {
    if (other.count != any.count || other.type != any.type || other.op != any.op || other.peer != any.peer) {
      wrong("ranks disagree on a collective, rank", rank);
    }
  }
  move(*round);
  team->rounds.erase(call.number);
  finish(*round);
}

/// What a rank's part of an operation reads and writes.
std::vector<Access> accesses(const Call& call) {
  const Part& part = call.part;
  const size_t bytes = part.count * size_of(part.type);
  const auto ranks = static_cast<size_t>(call.comm->team->ranks);
  const bool gives =
      call.kind != Kind::recv && (call.kind != Kind::broadcast || part.peer == call.comm->rank);
  std::vector<Access> out;
  if (gives) out.push_back({part.in, bytes * (call.kind == Kind::reduce_scatter ? ranks : 1), false});
  if (call.kind != Kind::send)
    out.push_back({part.out, bytes * (call.kind == Kind::all_gather ? ranks : 1), true});
  return out;
}

ncclResult_t check(const Call& call) {
  const Part& part = call.part;
  const auto ranks = static_cast<size_t>(call.comm->team->ranks);
  if (part.count == 0) return ncclSuccess;
  for (const Access& access : accesses(call)) {
    if (device_of(access.at) != call.comm->device || reach(access.at, access.bytes) == nullptr)
      return wrong(access.writes ? "output is not on device" : "input is not on device", call.comm->device);
  }
  const Stream* stream = find(call.stream);
  if (stream == nullptr || stream->device != call.comm->device)
    return wrong("stream is not of device", call.comm->device);
  if (part.peer >= static_cast<int>(ranks)) return wrong("no rank", part.peer);
  return ncclSuccess;
}

/// Gives the operations of a group to their streams: all begin where the first may begin.
ncclResult_t launch(std::vector<Call> calls) {
  const Lock lock(guard());
  std::vector<MarkPtr> marks;
  for (const Call& call : calls) {
    if (call.comm->aborted) return ncclInvalidUsage;
    if (const auto status = check(call)) return status;
  }
  for (const Call& call : calls) {
    const TeamPtr team = call.comm->team;
    RoundPtr round;
    if (to_one(call.kind)) {
      round = std::make_shared<Round>();
    } else {
      auto& place = team->rounds[call.number];
      if (!place) place = std::make_shared<Round>();
      round = place;
    }
    log("nccl %s bytes=%zu rank=%d of=%d stream=%d", name(call.kind),
        call.part.count * size_of(call.part.type), call.comm->rank, team->ranks, find(call.stream)->id);
    trace_work(*find(call.stream), name(call.kind), accesses(call));
    auto& open = call.comm->open;
    std::erase_if(open, [](const MarkPtr& mark) { return mark->done; });
    open.push_back(round->done);
    call.comm->streams.insert(find(call.stream));
    marks.push_back(round->done);
    if (enqueue(call.stream, name(call.kind), [team, call, round] { arrive(team, call, round); }) !=
        cudaSuccess)
      return ncclUnhandledCudaError;
    count_in_graph(call.stream);
  }
  for (size_t i = 0; i < calls.size(); ++i) enqueue_wait(calls[i].stream, marks[i]);
  return ncclSuccess;
}

ncclResult_t post(Kind kind, ncclComm_t handle, const Part& part, cudaStream_t stream) {
  const Lock lock(guard());
  if (handle == nullptr) return wrong("communicator", 0);
  Comm& comm = of(handle);
  const Call call{&comm, kind, part, stream, to_one(kind) ? 0 : comm.next++};
  if (depth > 0) {
    group.push_back(call);
    return ncclSuccess;
  }
  return launch({call});
}

}  // namespace
}  // namespace dry

using namespace dry;

DRY_API ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

DRY_API ncclResult_t ncclGroupEnd() {
  if (depth == 0) return wrong("end of no group", 0);
  if (--depth > 0) return ncclSuccess;
  return launch(std::exchange(group, {}));
}

DRY_API ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                                   ncclComm_t comm, cudaStream_t stream) {
  return post(Kind::all_gather, comm, {in, out, count, type, ncclSum, -1}, stream);
}

DRY_API ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                                       ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return post(Kind::reduce_scatter, comm, {in, out, count, type, op, -1}, stream);
}

DRY_API ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                                   ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return post(Kind::all_reduce, comm, {in, out, count, type, op, -1}, stream);
}

DRY_API ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                                   ncclComm_t comm, cudaStream_t stream) {
  return post(Kind::broadcast, comm, {in, out, count, type, ncclSum, root}, stream);
}

DRY_API ncclResult_t ncclBcast(void* buffer, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                               cudaStream_t stream) {
  return ncclBroadcast(buffer, buffer, count, type, root, comm, stream);
}

DRY_API ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                              cudaStream_t stream) {
  return post(Kind::send, comm, {in, nullptr, count, type, ncclSum, peer}, stream);
}

DRY_API ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                              cudaStream_t stream) {
  return post(Kind::recv, comm, {nullptr, out, count, type, ncclSum, peer}, stream);
}
