// NCCL between pretended devices of one process: communicators, and the memory that they know of. It is built
// against NCCL's own header, below LibTorch; tests/support/fake_nccl stands in for it above, behind our table
// of functions.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "nccl_parts.h"
#include "trace.h"

namespace dry {
namespace {

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

ncclResult_t wrong(const char* what, long long value) {
  fail(cudaErrorInvalidValue, "nccl: %s %lld", what, value);
  cudaGetLastError();
  return ncclInvalidArgument;
}

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
  if (comm.team) comm.team->aborted = true;
  for (const MarkPtr& mark : comm.open) mark->done = true;
  for (const Stream* stream : comm.streams) trace("ended", *stream);
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
// ---- Memory that NCCL knows of ----

DRY_API ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
  return cudaMalloc(pointer, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

DRY_API ncclResult_t ncclMemFree(void* pointer) {
  const Lock lock(guard());
  for (const auto& [handle, what] : registered()) {
    if (what.memory == pointer) return wrong("memory is freed that is registered, of rank", what.comm->rank);
  }
  trace("unmapped %zx %zx", reinterpret_cast<size_t>(pointer), bytes_at(pointer));
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
