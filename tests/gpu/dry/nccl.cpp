// NCCL between pretended devices of one process: an operation begins when the streams of all its ranks have
// come to it, and their streams go on when it is done. What ranks disagree on, and buffers that leave their
// memory, are errors.
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "dry.h"

namespace dry {
namespace {

enum class Kind { all_gather, reduce_scatter, all_reduce, broadcast, send, recv };

const char* name(Kind kind) {
  constexpr const char* kNames[] = {"all_gather", "reduce_scatter", "all_reduce",
                                    "broadcast",  "send",           "recv"};
  return kNames[static_cast<int>(kind)];
}

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 4;
  }
}

/// What one rank gave to an operation.
struct Part {
  const void* in = nullptr;
  void* out = nullptr;
  size_t count = 0;  // as NCCL counts it: of one rank's share, or of everything
  ncclDataType_t type{};
  ncclRedOp_t op{};
  int peer = -1;  // or root
};

struct Comm;

/// An operation of several ranks.
struct Round {
  Kind kind{};
  std::map<int, Part> parts;
  MarkPtr done = std::make_shared<Mark>();
};
using RoundPtr = std::shared_ptr<Round>;

struct Team {
  int ranks = 0;
  int joined = 0;
  std::map<uint64_t, RoundPtr> rounds;
  std::map<std::pair<int, int>, std::deque<RoundPtr>> sent, wanted;  // from, to
  struct Split {
    int came = 0;
    std::map<int, std::pair<int, int>> wishes;  // of a rank: color, key
    std::map<int, ncclComm_t*> places;
  };
  std::map<int, Split> splits;
};
using TeamPtr = std::shared_ptr<Team>;

struct Comm {
  TeamPtr team;
  int rank = 0;
  int device = 0;
  uint64_t next = 0;
  int split = 0;
  bool splitting = false;
  bool aborted = false;
  std::vector<MarkPtr> open;  // of operations that were given to streams
};

struct Call {
  Comm* comm;
  Kind kind;
  Part part;
  cudaStream_t stream;
  uint64_t number;
};

std::map<std::string, TeamPtr>& teams() {
  static auto* all = new std::map<std::string, TeamPtr>;
  return *all;
}

struct Registration {
  const Comm* comm = nullptr;
  const void* memory = nullptr;
};

std::map<void*, Registration>& registered() {  // by handle
  static auto* all = new std::map<void*, Registration>;
  return *all;
}

thread_local int depth = 0;
thread_local std::vector<Call> group;

Comm& of(ncclComm_t comm) {
  return *reinterpret_cast<Comm*>(comm);
}

ncclResult_t wrong(const char* what, long long value) {
  fail(cudaErrorInvalidValue, "nccl: %s %lld", what, value);
  cudaGetLastError();
  return ncclInvalidArgument;
}

// ---- Contents ----

double read(const void* from, size_t at, ncclDataType_t type) {
  const auto get = [&](auto value) {
    std::memcpy(&value, static_cast<const char*>(from) + at * sizeof value, sizeof value);
    return static_cast<double>(value);
  };
  switch (type) {
    case ncclFloat32:
      return get(float{});
    case ncclFloat64:
      return get(double{});
    case ncclInt32:
      return get(int32_t{});
    case ncclInt64:
      return get(int64_t{});
    case ncclInt8:
      return get(int8_t{});
    case ncclUint8:
      return get(uint8_t{});
    case ncclBfloat16: {
      uint16_t half = 0;
      std::memcpy(&half, static_cast<const char*>(from) + at * 2, 2);
      const uint32_t whole = uint32_t{half} << 16;
      float out = 0;
      std::memcpy(&out, &whole, 4);
      return out;
    }
    default:
      return 0;
  }
}

void write(void* to, size_t at, ncclDataType_t type, double value) {
  const auto put = [&](auto typed) {
    std::memcpy(static_cast<char*>(to) + at * sizeof typed, &typed, sizeof typed);
  };
  switch (type) {
    case ncclFloat32:
      return put(static_cast<float>(value));
    case ncclFloat64:
      return put(value);
    case ncclInt32:
      return put(static_cast<int32_t>(value));
    case ncclInt64:
      return put(static_cast<int64_t>(value));
    case ncclInt8:
      return put(static_cast<int8_t>(value));
    case ncclUint8:
      return put(static_cast<uint8_t>(value));
    case ncclBfloat16: {
      const float single = static_cast<float>(value);
      uint32_t whole = 0;
      std::memcpy(&whole, &single, 4);
      return put(static_cast<uint16_t>(whole >> 16));
    }
    default:
      return;
  }
}

double combine(double a, double b, ncclRedOp_t op) {
  return op == ncclMax ? std::max(a, b) : op == ncclMin ? std::min(a, b) : a + b;
}

/// Elements first .. first + count of all inputs, reduced.
std::vector<double> reduced(const Round& round, size_t first, size_t count) {
  std::vector<double> out(count);
  const Part& any = round.parts.begin()->second;
  for (auto at = round.parts.begin(); at != round.parts.end(); ++at) {
    const void* in = reach(at->second.in, (first + count) * size_of(any.type));
    for (size_t i = 0; in != nullptr && i < count; ++i) {
      const double value = read(in, first + i, any.type);
      out[i] = at == round.parts.begin() ? value : combine(out[i], value, any.op);
    }
  }
  if (any.op == ncclAvg) {
    for (double& value : out) value /= static_cast<double>(round.parts.size());
  }
  return out;
}

void store(const Part& part, const std::vector<double>& values) {
  void* out = reach(part.out, values.size() * size_of(part.type));
  for (size_t i = 0; out != nullptr && i < values.size(); ++i) write(out, i, part.type, values[i]);
}

/// Large contents mean nothing where kernels compute nothing.
constexpr size_t kMoved = 1 << 16;

void move(const Round& round) {
  const Part& any = round.parts.begin()->second;
  const size_t bytes = any.count * size_of(any.type);
  if (bytes == 0 || bytes > kMoved) return;
  for (const auto& [rank, part] : round.parts) {
    const bool there =
        (part.in == nullptr || reach(part.in, bytes) != nullptr) && reach(part.out, bytes) != nullptr;
    if (!there) wrong("memory was freed before the operation ran, rank", rank);
    if (!there) return;
  }
  std::vector<std::vector<double>> results;
  switch (round.kind) {
    case Kind::all_gather: {
      std::vector<char> all;
      for (const auto& [rank, part] : round.parts) {
        const char* in = static_cast<const char*>(reach(part.in, bytes));
        all.insert(all.end(), in, in + bytes);
      }
      for (const auto& [rank, part] : round.parts)
        std::memcpy(reach(part.out, all.size()), all.data(), all.size());
      return;
    }
    case Kind::broadcast: {
      const std::vector<char> root = [&] {
        const char* in = static_cast<const char*>(reach(round.parts.at(any.peer).in, bytes));
        return std::vector<char>(in, in + bytes);
      }();
      for (const auto& [rank, part] : round.parts) std::memcpy(reach(part.out, bytes), root.data(), bytes);
      return;
    }
    case Kind::all_reduce:
    case Kind::reduce_scatter: {
      for (const auto& [rank, part] : round.parts) {
        const size_t first = round.kind == Kind::all_reduce ? 0 : static_cast<size_t>(rank) * part.count;
        results.push_back(reduced(round, first, part.count));
      }
      size_t at = 0;
      for (const auto& [rank, part] : round.parts) store(part, results[at++]);
      return;
    }
    default:
      return;
  }
}

// ---- Coming together ----

void finish(Round& round) {
  round.done->done = true;
  advance();
}

void arrive(const TeamPtr& team, const Call& call, const RoundPtr& round) {
  const Part& part = call.part;
  if (call.kind == Kind::send || call.kind == Kind::recv) {
    const bool sends = call.kind == Kind::send;
    const auto pair = sends ? std::pair(call.comm->rank, part.peer) : std::pair(part.peer, call.comm->rank);
    round->parts[0] = part;
    auto& own = sends ? team->sent[pair] : team->wanted[pair];
    auto& other = sends ? team->wanted[pair] : team->sent[pair];
    own.push_back(round);
    if (other.empty()) return;
    const RoundPtr from = team->sent[pair].front(), to = team->wanted[pair].front();
    team->sent[pair].pop_front();
    team->wanted[pair].pop_front();
    const Part &given = from->parts[0], &taken = to->parts[0];
    const size_t bytes = given.count * size_of(given.type);
    if (bytes != taken.count * size_of(taken.type))
      wrong("a message of another size than its receiver's, bytes", static_cast<long long>(bytes));
    else if (bytes > 0 && bytes <= kMoved)
      std::memmove(reach(taken.out, bytes), reach(given.in, bytes), bytes);
    from->done->done = true;
    finish(*to);
    return;
  }
  round->kind = call.kind;
  round->parts[call.comm->rank] = part;
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

ncclResult_t check(const Call& call) {
  const Part& part = call.part;
  const auto ranks = static_cast<size_t>(call.comm->team->ranks);
  const size_t bytes = part.count * size_of(part.type);
  const size_t in = bytes * (call.kind == Kind::reduce_scatter ? ranks : 1);
  const size_t out = bytes * (call.kind == Kind::all_gather ? ranks : 1);
  const bool gives =
      call.kind != Kind::recv && (call.kind != Kind::broadcast || part.peer == call.comm->rank);
  if (bytes == 0) return ncclSuccess;
  if (gives && (device_of(part.in) != call.comm->device || reach(part.in, in) == nullptr))
    return wrong("input is not on device", call.comm->device);
  if (call.kind != Kind::send &&
      (device_of(part.out) != call.comm->device || reach(part.out, out) == nullptr)) {
    return wrong("output is not on device", call.comm->device);
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
    const bool pair = call.kind == Kind::send || call.kind == Kind::recv;
    const TeamPtr team = call.comm->team;
    RoundPtr round;
    if (pair) {
      round = std::make_shared<Round>();
    } else {
      auto& place = team->rounds[call.number];
      if (!place) place = std::make_shared<Round>();
      round = place;
    }
    log("nccl %s bytes=%zu rank=%d of=%d stream=%d", name(call.kind),
        call.part.count * size_of(call.part.type), call.comm->rank, team->ranks, find(call.stream)->id);
    auto& open = call.comm->open;
    std::erase_if(open, [](const MarkPtr& mark) { return mark->done; });
    open.push_back(round->done);
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
  const bool pair = kind == Kind::send || kind == Kind::recv;
  const Call call{&comm, kind, part, stream, pair ? 0 : comm.next++};
  if (depth > 0) {
    group.push_back(call);
    return ncclSuccess;
  }
  return launch({call});
}

ncclComm_t make(const TeamPtr& team, int rank, int device) {
  auto* comm = new Comm;
  comm->team = team;
  comm->rank = rank;
  comm->device = device;
  ++team->joined;
  return reinterpret_cast<ncclComm_t>(comm);
}

void finish_split(Team::Split& split) {
  std::map<int, std::vector<std::pair<int, int>>> members;  // color -> key, rank
  for (const auto& [rank, wish] : split.wishes) {
    if (wish.first >= 0) members[wish.first].emplace_back(wish.second, rank);
  }
  for (auto& [color, list] : members) {
    std::sort(list.begin(), list.end());
    auto team = std::make_shared<Team>();
    team->ranks = static_cast<int>(list.size());
    // The communicators were made when the split was asked for; they learn their place here.
    for (size_t i = 0; i < list.size(); ++i) {
      Comm& comm = of(*split.places[list[i].second]);
      comm.team = team;
      comm.rank = static_cast<int>(i);
      ++team->joined;
    }
  }
}

ncclResult_t join(ncclComm_t* out, int ranks, const ncclUniqueId& id, int rank, bool blocking) {
  Lock lock(guard());
  TeamPtr& team = teams()[std::string(id.internal, sizeof id.internal)];
  if (!team || team->joined >= team->ranks) {
    team = std::make_shared<Team>();
    team->ranks = ranks;
  }
  if (team->ranks != ranks || rank < 0 || rank >= ranks) return wrong("rank", rank);
  const TeamPtr own = team;
  *out = make(own, rank, current_device());
  progressed().notify_all();
  if (!blocking) return own->joined == ranks ? ncclSuccess : ncclInProgress;
  progressed().wait(lock, [&] { return own->joined == ranks; });
  return ncclSuccess;
}

}  // namespace
}  // namespace dry

using namespace dry;

DRY_API ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

DRY_API const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSuccess      ? "no error"
         : result == ncclInProgress ? "in progress"
                                    : "error of the dry NCCL";
}

DRY_API const char* ncclGetLastError(ncclComm_t) {
  return "see the dry runtime's log";
}

DRY_API ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<uint64_t> next{1};
  *id = {};
  const uint64_t number = next++;
  std::memcpy(id->internal, &number, sizeof number);
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                            ncclConfig_t* config) {
  return join(comm, ranks, id, rank, config == nullptr || config->blocking != 0);
}

DRY_API ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  return join(comm, ranks, id, rank, true);
}

DRY_API ncclResult_t ncclCommInitRankScalable(ncclComm_t* comm, int ranks, int rank, int, ncclUniqueId* ids,
                                              ncclConfig_t* config) {
  return ncclCommInitRankConfig(comm, ranks, ids[0], rank, config);
}

DRY_API ncclResult_t ncclCommSplit(ncclComm_t parent_handle, int color, int key, ncclComm_t* out,
                                   ncclConfig_t* config) {
  Lock lock(guard());
  Comm& parent = of(parent_handle);
  const TeamPtr team = parent.team;
  const int number = parent.split++;
  Team::Split& split = team->splits[number];
  split.wishes[parent.rank] = {color, key};
  *out = nullptr;
  if (color >= 0) {
    auto* comm = new Comm;
    comm->device = parent.device;
    *out = reinterpret_cast<ncclComm_t>(comm);
  }
  split.places[parent.rank] = out;
  if (++split.came == team->ranks) {
    finish_split(split);
    advance();
  }
  const auto done = [&] { return team->splits[number].came == team->ranks; };
  if (config != nullptr && config->blocking == 0) return done() ? ncclSuccess : ncclInProgress;
  progressed().wait(lock, done);
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  const Lock lock(guard());
  const Comm& comm = of(handle);
  *state = ncclSuccess;
  if (!comm.team || comm.team->joined < comm.team->ranks) *state = ncclInProgress;
  if (comm.team && comm.split > 0 && comm.team->splits[comm.split - 1].came < comm.team->ranks)
    *state = ncclInProgress;
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  const Lock lock(guard());
  for (const auto& [_, what] : registered()) {
    if (what.comm == &of(handle)) return wrong("memory is still registered, rank", what.comm->rank);
  }
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const Lock lock(guard());
  Comm& comm = of(handle);
  comm.aborted = true;
  for (const MarkPtr& mark : comm.open) mark->done = true;
  std::erase_if(registered(), [&](const auto& entry) { return entry.second.comm == &comm; });
  advance();
  return ncclSuccess;  // the memory stays: operations that are queued name it
}

DRY_API ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  return ncclCommAbort(handle);
}

DRY_API ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  *count = of(comm).team->ranks;
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  *rank = of(comm).rank;
  return ncclSuccess;
}

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

// ---- Memory that NCCL knows of ----

DRY_API ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
  return cudaMalloc(pointer, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

DRY_API ncclResult_t ncclMemFree(void* pointer) {
  const Lock lock(guard());
  for (const auto& [handle, what] : registered()) {
    if (what.memory == pointer) return wrong("memory is freed that is registered, of rank", what.comm->rank);
  }
  return cudaFree(pointer) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

DRY_API ncclResult_t ncclCommRegister(const ncclComm_t comm, void* memory, size_t bytes, void** handle) {
  static uintptr_t next = 1;
  const Lock lock(guard());
  if (device_of(memory) != of(comm).device || reach(memory, bytes) == nullptr)
    return wrong("memory to register is not on device", of(comm).device);
  *handle = reinterpret_cast<void*>(next++);
  registered()[*handle] = {&of(comm), memory};
  log("register bytes=%zu rank=%d", bytes, of(comm).rank);
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommDeregister(const ncclComm_t comm, void* handle) {
  const Lock lock(guard());
  const auto found = registered().find(handle);
  if (found == registered().end() || found->second.comm != &of(comm))
    return wrong("a handle that the communicator has not given, rank", of(comm).rank);
  registered().erase(found);
  return ncclSuccess;
}

// What LibTorch names and nothing here uses: refused, whatever the arguments.
#define DRY_ABSENT(NAME)                                  \
  extern "C" ncclResult_t absent_##NAME() __asm__(#NAME); \
  extern "C" ncclResult_t absent_##NAME() {               \
    return wrong("there is no " #NAME ":", 0);            \
  }
DRY_ABSENT(ncclAlltoAll)
DRY_ABSENT(ncclCommInitAll)
DRY_ABSENT(ncclCommShrink)
DRY_ABSENT(ncclCommWindowDeregister)
DRY_ABSENT(ncclCommWindowRegister)
DRY_ABSENT(ncclDevCommCreate)
DRY_ABSENT(ncclDevCommDestroy)
DRY_ABSENT(ncclGroupSimulateEnd)
DRY_ABSENT(ncclRedOpCreatePreMulSum)
DRY_ABSENT(ncclRedOpDestroy)
DRY_ABSENT(ncclReduce)
