// The plugin's table for communication: NCCL behind dlopen, and streams of our own.
#include "comm/cuda_communication.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>

namespace tessera {
namespace {

static_assert(kNcclSuccess == ncclSuccess && kNcclInProgress == ncclInProgress);
static_assert(kNcclIdBytes == NCCL_UNIQUE_ID_BYTES);
static_assert(static_cast<int>(NcclType::int8) == ncclInt8 &&
              static_cast<int>(NcclType::uint8) == ncclUint8 &&
              static_cast<int>(NcclType::int32) == ncclInt32 &&
              static_cast<int>(NcclType::int64) == ncclInt64 &&
              static_cast<int>(NcclType::float16) == ncclFloat16 &&
              static_cast<int>(NcclType::float32) == ncclFloat32 &&
              static_cast<int>(NcclType::float64) == ncclFloat64 &&
              static_cast<int>(NcclType::bfloat16) == ncclBfloat16);
static_assert(static_cast<int>(NcclReduce::sum) == ncclSum && static_cast<int>(NcclReduce::max) == ncclMax &&
              static_cast<int>(NcclReduce::min) == ncclMin && static_cast<int>(NcclReduce::avg) == ncclAvg);

/// Non-blocking communicators with ncclCommSplit and named communicators.
constexpr int kOldestNccl = NCCL_VERSION(2, 27, 0);

/// NCCL's functions as its library has them.
struct Library {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetErrorString) get_error_string;
  decltype(&ncclGetLastError) get_last_error;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) init_rank_config;
  decltype(&ncclCommSplit) split;
  decltype(&ncclCommGetAsyncError) get_async_error;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) abort;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) recv;
  // Older libraries lack these.
  decltype(&ncclMemAlloc) mem_alloc;
  decltype(&ncclMemFree) mem_free;
  decltype(&ncclCommRegister) comm_register;
  decltype(&ncclCommDeregister) comm_deregister;
};

Library library;

ncclConfig_t config_of(const char* name) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  if (name != nullptr && *name != '\0') config.commName = name;
  return config;
}

const char* error_text(int result) {
  return library.get_error_string(static_cast<ncclResult_t>(result));
}
const char* last_error(void* comm) {
  return library.get_last_error(static_cast<ncclComm_t>(comm));
}
int unique_id(void* id) {
  return library.get_unique_id(static_cast<ncclUniqueId*>(id));
}
int init(void** comm, int ranks, const void* id, int rank, const char* name) {
  ncclUniqueId copy;
  std::memcpy(&copy, id, sizeof copy);
  ncclConfig_t config = config_of(name);
  return library.init_rank_config(reinterpret_cast<ncclComm_t*>(comm), ranks, copy, rank, &config);
}
int split(void* parent, int color, int key, const char* name, void** comm) {
  ncclConfig_t config = config_of(name);
  return library.split(static_cast<ncclComm_t>(parent), color < 0 ? NCCL_SPLIT_NOCOLOR : color, key,
                       reinterpret_cast<ncclComm_t*>(comm), &config);
}
int state(void* comm, int* result) {
  ncclResult_t now = ncclSuccess;
  const ncclResult_t asked = library.get_async_error(static_cast<ncclComm_t>(comm), &now);
  *result = now;
  return asked;
}
int finalize(void* comm) {
  return library.finalize(static_cast<ncclComm_t>(comm));
}
int destroy(void* comm) {
  return library.destroy(static_cast<ncclComm_t>(comm));
}
int abort_comm(void* comm) {
  return library.abort(static_cast<ncclComm_t>(comm));
}
int group_start() {
  return library.group_start();
}
int group_end() {
  return library.group_end();
}
int all_gather(const void* in, void* out, size_t count, NcclType type, void* comm, void* stream) {
  return library.all_gather(in, out, count, static_cast<ncclDataType_t>(type), static_cast<ncclComm_t>(comm),
                            static_cast<cudaStream_t>(stream));
}
int reduce_scatter(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
                   void* stream) {
  return library.reduce_scatter(in, out, count, static_cast<ncclDataType_t>(type),
                                static_cast<ncclRedOp_t>(op), static_cast<ncclComm_t>(comm),
                                static_cast<cudaStream_t>(stream));
}
int all_reduce(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
               void* stream) {
  return library.all_reduce(in, out, count, static_cast<ncclDataType_t>(type), static_cast<ncclRedOp_t>(op),
                            static_cast<ncclComm_t>(comm), static_cast<cudaStream_t>(stream));
}
int broadcast(const void* in, void* out, size_t count, NcclType type, int root, void* comm, void* stream) {
  return library.broadcast(in, out, count, static_cast<ncclDataType_t>(type), root,
                           static_cast<ncclComm_t>(comm), static_cast<cudaStream_t>(stream));
}
int send(const void* data, size_t count, NcclType type, int peer, void* comm, void* stream) {
  return library.send(data, count, static_cast<ncclDataType_t>(type), peer, static_cast<ncclComm_t>(comm),
                      static_cast<cudaStream_t>(stream));
}
int recv(void* data, size_t count, NcclType type, int peer, void* comm, void* stream) {
  return library.recv(data, count, static_cast<ncclDataType_t>(type), peer, static_cast<ncclComm_t>(comm),
                      static_cast<cudaStream_t>(stream));
}

int memory_new(void** memory, size_t bytes) {
  const ncclResult_t result = library.mem_alloc(memory, bytes);
  if (result != ncclSuccess) cudaGetLastError();  // clears it: whoever asked goes on without
  return result;
}
int memory_free(void* memory) {
  return library.mem_free(memory);
}
int register_memory(void* comm, void* memory, size_t bytes, void** handle) {
  return library.comm_register(static_cast<ncclComm_t>(comm), memory, bytes, handle);
}
int deregister_memory(void* comm, void* handle) {
  return library.comm_deregister(static_cast<ncclComm_t>(comm), handle);
}

/// Why NCCL cannot be used, or empty after filling `api`.
std::string load(NcclApi& api) {
  // Finds the one that LibTorch has loaded; two copies in one process would not know of each other.
  void* handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* error = dlerror();
    return std::string("libnccl.so.2 cannot be loaded: ") + (error ? error : "unknown reason");
  }
  const char* missing = nullptr;
  const auto get = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  get(library.get_version, "ncclGetVersion");
  get(library.get_error_string, "ncclGetErrorString");
  get(library.get_last_error, "ncclGetLastError");
  get(library.get_unique_id, "ncclGetUniqueId");
  get(library.init_rank_config, "ncclCommInitRankConfig");
  get(library.split, "ncclCommSplit");
  get(library.get_async_error, "ncclCommGetAsyncError");
  get(library.finalize, "ncclCommFinalize");
  get(library.destroy, "ncclCommDestroy");
  get(library.abort, "ncclCommAbort");
  get(library.group_start, "ncclGroupStart");
  get(library.group_end, "ncclGroupEnd");
  get(library.all_gather, "ncclAllGather");
  get(library.reduce_scatter, "ncclReduceScatter");
  get(library.all_reduce, "ncclAllReduce");
  get(library.broadcast, "ncclBroadcast");
  get(library.send, "ncclSend");
  get(library.recv, "ncclRecv");
  if (missing != nullptr) return std::string("libnccl.so.2 has no ") + missing;
  get(library.mem_alloc, "ncclMemAlloc");
  get(library.mem_free, "ncclMemFree");
  get(library.comm_register, "ncclCommRegister");
  get(library.comm_deregister, "ncclCommDeregister");
  int version = 0;
  if (library.get_version(&version) != ncclSuccess || version < kOldestNccl) {
    return "libnccl.so.2 is version " + std::to_string(version) + ", at least " +
           std::to_string(kOldestNccl) + " is needed";
  }
  api = {version, error_text, last_error,  unique_id, init,       split,          state,      finalize,
         destroy, abort_comm, group_start, group_end, all_gather, reduce_scatter, all_reduce, broadcast,
         send,    recv,       nullptr,     nullptr,   nullptr,    nullptr};
  if (missing == nullptr) {
    api.memory_new = memory_new;
    api.memory_free = memory_free;
    api.register_memory = register_memory;
    api.deregister_memory = deregister_memory;
  }
  return "";
}

const NcclApi* nccl(char* reason, size_t capacity) {
  static NcclApi api{};
  static const std::string failure = load(api);
  if (failure.empty()) return &api;
  if (capacity > 0) std::snprintf(reason, capacity, "%s", failure.c_str());
  return nullptr;
}

bool bus_id(int32_t device, char* text, size_t capacity) {
  if (cudaDeviceGetPCIBusId(text, static_cast<int>(capacity), device) == cudaSuccess) return true;
  cudaGetLastError();  // clears it
  return false;
}

int new_stream(int32_t device, int64_t* id, void** native) {
  int least = 0;
  int greatest = 0;
  cudaStream_t stream = nullptr;
  cudaError_t status = cudaErrorInvalidDevice;
  try {
    // LibTorch's, which does not make a context on the device that was current before.
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    status = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    if (status == cudaSuccess)
      status = cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest);
  } catch (const std::exception&) {
    cudaGetLastError();
    return status;
  }
  if (status != cudaSuccess) {
    cudaGetLastError();
    return status;
  }
  *native = stream;
  *id = c10::cuda::getStreamFromExternal(stream, static_cast<c10::DeviceIndex>(device)).id();
  return cudaSuccess;
}

void free_stream(int32_t /*device*/, void* native) {
  cudaStreamDestroy(static_cast<cudaStream_t>(native));
}

int await_device(int32_t device) {
  cudaError_t status = cudaErrorInvalidDevice;
  try {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    status = cudaDeviceSynchronize();
  } catch (const std::exception&) {  // NOLINT: the status says it
  }
  if (status != cudaSuccess) cudaGetLastError();
  return status;
}

constexpr CudaCommunication kCommunication{kCudaCommunicationAbi, nccl,        bus_id, new_stream,
                                           free_stream,           await_device};

}  // namespace
}  // namespace tessera

extern "C" __attribute__((visibility("default"))) const tessera::CudaCommunication*
tessera_cuda_communication() {
  return &tessera::kCommunication;
}
