// The log of calls, and the errors that calls return.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "dry.h"

namespace dry {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

/// The file, closed when the library is unloaded; lines of several threads do not mix.
struct File {
  FILE* file = nullptr;
  std::mutex mutex;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();

  File() {
    const char* path = std::getenv("TESSERA_DRY_LOG");
    if (path == nullptr || *path == '\0') return;
    std::string name = path;
    // Programs that start others would write into one file.
    if (const size_t at = name.find("%p"); at != std::string::npos) {
      name.replace(at, 2, std::to_string(getpid()));
    }
    file = std::fopen(name.c_str(), "w");
    if (file != nullptr) std::setvbuf(file, nullptr, _IOFBF, 1 << 20);
  }
};

File& file() {
  static File* out = new File;  // calls come until the process has ended
  return *out;
}

__attribute__((destructor)) void flush() {
  if (file().file != nullptr) std::fflush(file().file);
}

void line(const char* format, va_list arguments) {
  static std::atomic<int> threads{0};
  thread_local const int thread = threads++;
  File& out = file();
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - out.start);
  const std::lock_guard lock(out.mutex);
  std::fprintf(out.file, "%lld t%d d%d ", static_cast<long long>(now.count()), thread, current_device());
  std::vfprintf(out.file, format, arguments);
  std::fputc('\n', out.file);
}

}  // namespace

std::recursive_mutex& guard() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}

std::condition_variable_any& progressed() {
  static auto* changed = new std::condition_variable_any;
  return *changed;
}

bool logging() {
  return file().file != nullptr;
}

void log(const char* format, ...) {
  if (!logging()) return;
  va_list arguments;
  va_start(arguments, format);
  line(format, arguments);
  va_end(arguments);
}

cudaError_t fail(cudaError_t error, const char* format, ...) {
  last_error = error;
  if (!logging()) return error;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  log("error %s: %s", cudaGetErrorName(error), text);
  std::fflush(file().file);
  return error;
}

cudaError_t quiet(cudaError_t error) {
  last_error = error;
  return error;
}

}  // namespace dry

DRY_API cudaError_t cudaGetLastError() {
  const cudaError_t error = dry::last_error;
  dry::last_error = cudaSuccess;
  return error;
}

DRY_API cudaError_t cudaPeekAtLastError() {
  return dry::last_error;
}

#define DRY_ERRORS(X)                                                                               \
  X(cudaSuccess, "no error")                                                                        \
  X(cudaErrorInvalidValue, "invalid argument")                                                      \
  X(cudaErrorMemoryAllocation, "out of memory")                                                     \
  X(cudaErrorInvalidConfiguration, "invalid configuration argument")                                \
  X(cudaErrorInvalidDevice, "invalid device ordinal")                                               \
  X(cudaErrorInvalidSymbol, "invalid device symbol")                                                \
  X(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy")                           \
  X(cudaErrorInvalidDeviceFunction, "invalid device function")                                      \
  X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                        \
  X(cudaErrorInvalidResourceHandle, "invalid resource handle")                                      \
  X(cudaErrorNotReady, "device not ready")                                                          \
  X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                            \
  X(cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled")                            \
  X(cudaErrorNotSupported, "operation not supported")                                               \
  X(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")          \
  X(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture")   \
  X(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences") \
  X(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began")        \
  X(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work")                           \
  X(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream")     \
  X(cudaErrorStreamCaptureImplicit,                                                                 \
    "operation would make the legacy stream depend on a capturing blocking stream")                 \
  X(cudaErrorStreamCaptureWrongThread,                                                              \
    "attempt to terminate a thread-local capture sequence from another thread")                     \
  X(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream")

DRY_API const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define X(name, text) \
  case name:          \
    return #name;
    DRY_ERRORS(X)
#undef X
    default:
      return "cudaErrorUnknown";
  }
}

DRY_API const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define X(name, text) \
  case name:          \
    return text;
    DRY_ERRORS(X)
#undef X
    default:
      return "unknown error";
  }
}
