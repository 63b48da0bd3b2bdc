// What communication on GPUs needs of CUDA and NCCL, as plain C functions: libtessera_cuda.so offers them, so
// that libtessera.so links neither, and tests put others in their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tessera {

/// Results of NcclApi's functions; others are errors (ncclResult_t).
inline constexpr int kNcclSuccess = 0;
inline constexpr int kNcclInProgress = 7;

/// ncclDataType_t and ncclRedOp_t; the plugin checks them against NCCL's header when it is compiled.
enum class NcclType : int {
  int8 = 0,
  uint8 = 1,
  int32 = 2,
  int64 = 4,
  float16 = 6,
  float32 = 7,
  float64 = 8,
  bfloat16 = 9,
};
enum class NcclReduce : int { sum = 0, max = 2, min = 3, avg = 4 };

inline constexpr size_t kNcclIdBytes = 128;

/// NCCL, with communicators that never block the caller: a function that cannot end at once returns
/// kNcclInProgress, and `state` says when it has. Communicators are ncclComm_t, streams cudaStream_t; counts
/// are elements. One thread at a time per communicator, except for `abort`.
struct NcclApi {
  int version;  ///< 22809 is 2.28.9
  const char* (*error_text)(int result);
  const char* (*last_error)(void* comm);

  int (*unique_id)(void* id);  ///< writes kNcclIdBytes
  /// Joins `ranks` ranks that pass the same id, on the calling thread's current device.
  int (*init)(void** comm, int ranks, const void* id, int rank, const char* name);
  /// All ranks of `parent` call it; color -1 takes no part. *comm is set once `state` of the parent has
  /// ended.
  int (*split)(void* parent, int color, int key, const char* name, void** comm);
  int (*state)(void* comm, int* result);  ///< ncclCommGetAsyncError
  int (*finalize)(void* comm);
  int (*destroy)(void* comm);
  /// Ends what is under way, also on the device, and frees the communicator.
  int (*abort)(void* comm);

  int (*group_start)();
  int (*group_end)();
  int (*all_gather)(const void* in, void* out, size_t in_count, NcclType type, void* comm, void* stream);
  int (*reduce_scatter)(const void* in, void* out, size_t out_count, NcclType type, NcclReduce op, void* comm,
                        void* stream);
  int (*all_reduce)(const void* in, void* out, size_t count, NcclType type, NcclReduce op, void* comm,
                    void* stream);
  int (*broadcast)(const void* in, void* out, size_t count, NcclType type, int root, void* comm,
                   void* stream);
  int (*send)(const void* data, size_t count, NcclType type, int peer, void* comm, void* stream);
  int (*recv)(void* data, size_t count, NcclType type, int peer, void* comm, void* stream);

  /// Null in a library without them. Memory that NCCL makes itself can be mapped by peers and by the switch;
  /// the calling thread's current device.
  int (*memory_new)(void** memory, size_t bytes);
  int (*memory_free)(void* memory);
  /// Null in a library without them. Registers memory, so that collectives use it in place; local. *handle
  /// may be null, which says that the user has switched that off. One communicator's handles go with it.
  int (*register_memory)(void* comm, void* memory, size_t bytes, void** handle);
  int (*deregister_memory)(void* comm, void* handle);

  bool registers() const {
    return memory_new != nullptr && memory_free != nullptr && register_memory != nullptr &&
           deregister_memory != nullptr;
  }
};

struct CudaCommunication {
  int32_t abi;  ///< kCudaCommunicationAbi of the plugin's build
  /// Loads NCCL on the first call; null when that fails, and then `reason` says why.
  const NcclApi* (*nccl)(char* reason, size_t capacity);
  /// What tells devices of one host apart ("00000000:3b:00.0"); false when there is no such device.
  bool (*bus_id)(int32_t device, char* text, size_t capacity);
  /// A stream of the highest priority that nobody else uses, as LibTorch's stream id (c10::StreamId) and as
  /// cudaStream_t; a cudaError_t.
  int (*new_stream)(int32_t device, int64_t* id, void** native);
  void (*free_stream)(int32_t device, void* native);
  /// Blocks until the device has done everything that all threads have queued; a cudaError_t.
  int (*await_device)(int32_t device);
};
inline constexpr int32_t kCudaCommunicationAbi = 2;
inline constexpr const char* kCudaCommunicationSymbol = "tessera_cuda_communication";

/// The plugin's table; null without a plugin of this build.
const CudaCommunication* cuda_communication();

}  // namespace tessera
