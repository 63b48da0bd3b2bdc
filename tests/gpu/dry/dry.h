// A CUDA runtime without a GPU: what its parts share. See README.md.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#define DRY_API extern "C" __attribute__((visibility("default")))

namespace dry {

/// Guards all state below. Calls take it once; helpers expect it to be held.
std::recursive_mutex& guard();
using Lock = std::unique_lock<std::recursive_mutex>;
/// Woken when a task of a stream has run.
std::condition_variable_any& progressed();

// ---- The log and errors (log.cpp) ----

/// Whether TESSERA_DRY_LOG names a file.
bool logging();
/// One line of the log, with the time, the thread and the device in front.
void log(const char* format, ...) __attribute__((format(printf, 1, 2)));
/// Remembers the thread's last error, logs it with the reason, and returns it.
cudaError_t fail(cudaError_t error, const char* format, ...) __attribute__((format(printf, 2, 3)));
/// As fail(), for states that are no mistake of the caller's (not ready yet).
cudaError_t quiet(cudaError_t error);

// ---- Devices (device.cpp) ----

int device_count();
int current_device();
const cudaDeviceProp& properties();

// ---- Memory (memory.cpp) ----

/// Pretended addresses lie in one window that the host cannot touch; what they hold lies elsewhere.
bool is_device(const void* pointer);
/// Where the host finds the bytes of a device range, or of a host range that range itself. Null when a byte
/// of a device range belongs to no live allocation.
void* reach(const void* pointer, size_t bytes);
/// The device of an address, -1 when it is none of a live allocation.
int device_of(const void* pointer);
/// The bytes of the allocation that begins at an address, 0 when none does.
size_t bytes_at(const void* pointer);
/// Whether an address lies in pinned memory of the host.
bool is_pinned(const void* pointer);
/// Allocations of memory for other libraries' symbols, never given back.
void* allocate(size_t bytes, int device);

// ---- Streams (streams.cpp) ----

/// Something that happens on a device: an event's record, or an operation of several ranks.
struct Mark {
  bool done = false;
};
using MarkPtr = std::shared_ptr<Mark>;

struct Task {
  std::function<void()> run;  // may be empty
  MarkPtr before;             // runs once this is done; may be null
};

struct Capture;

struct Stream {
  int device = 0;
  unsigned flags = 0;
  int priority = 0;
  int id = 0;
  std::deque<Task> queue;
  std::shared_ptr<Capture> capture;
  /// What the next copy to the host of as many bytes, or of two numbers less, brings (launch.cpp).
  std::vector<int64_t> answer;
  /// Under capture: how much of each stream this one comes after.
  std::map<Stream*, uint64_t> clock;
};

/// The stream behind a handle; null after destruction. Handle 0 is the device's own.
Stream* find(cudaStream_t handle, int device = current_device());
/// Puts work onto a stream: at once when nothing is before it, into the graph under capture.
cudaError_t enqueue(cudaStream_t handle, const char* what, std::function<void()> run);
/// Makes a stream wait for a mark that is set elsewhere, and says that marks were set.
void enqueue_wait(cudaStream_t handle, MarkPtr mark);
void advance();

// ---- Captures and graphs (graphs.cpp) ----

/// Checks that a call is allowed by the captures under way.
cudaError_t allowed_in_capture(const char* call);
/// Counts a launch into the stream's graph; the number of the graph, 0 outside a capture.
uint64_t count_in_graph(cudaStream_t handle);

// ---- Launches (launch.cpp) ----

/// The mangled name of a kernel by the host's function or handle.
const char* kernel_name(const void* function);

}  // namespace dry
