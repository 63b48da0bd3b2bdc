// Streams, events and graphs. What is put on a stream happens at once, unless an operation of several ranks
// before it waits for another rank: then it queues, as on a device.
#include <algorithm>
#include <chrono>
#include <thread>

#include "dry.h"

namespace dry {

/// What a capture has seen so far, and the graph that comes of it.
struct Capture {
  uint64_t id = 0;
  cudaStreamCaptureMode mode{};
  Stream* origin = nullptr;
  std::thread::id thread;
  bool valid = true;
  std::map<Stream*, uint64_t> sequence;  // nodes put on each stream
  std::vector<std::function<void()>> work;
  size_t launches = 0;
  size_t nodes = 0;
};

namespace {

using CapturePtr = std::shared_ptr<Capture>;

struct Event {
  int device = 0;
  unsigned flags = 0;
  bool recorded = false;
  MarkPtr mark;
  std::chrono::steady_clock::time_point time;
  // Recorded under capture:
  CapturePtr capture;
  std::map<Stream*, uint64_t> clock;
};

struct Graph {
  CapturePtr capture;
};

struct Streams {
  std::unordered_set<Stream*> all;
  std::map<int, Stream*> own;  // of a device: handles 0 to 2
  std::unordered_set<Event*> events;
  std::unordered_set<Graph*> graphs;  // and their executable forms
  std::vector<CapturePtr> captures;   // under way
  int next_id = 1;
  uint64_t next_capture = 1;
};

Streams& streams() {
  static auto* all = new Streams;
  return *all;
}

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

bool run_queue(Stream& stream) {
  bool any = false;
  while (!stream.queue.empty() &&
         (stream.queue.front().before == nullptr || stream.queue.front().before->done)) {
    Task task = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (task.run) task.run();
    any = true;
  }
  return any;
}

void push(Stream& stream, Task task) {
  stream.queue.push_back(std::move(task));
  if (run_queue(stream)) advance();
}

void merge(std::map<Stream*, uint64_t>& into, const std::map<Stream*, uint64_t>& from) {
  for (const auto& [stream, count] : from) into[stream] = std::max(into[stream], count);
}

void add_node(Stream& stream, std::function<void()> run) {
  Capture& capture = *stream.capture;
  ++capture.nodes;
  stream.clock[&stream] = ++capture.sequence[&stream];
  if (run) capture.work.push_back(std::move(run));
}

Event* event_of(cudaEvent_t handle) {
  auto* event = reinterpret_cast<Event*>(handle);
  return streams().events.count(event) > 0 ? event : nullptr;
}

cudaError_t wait(Lock& lock, const MarkPtr& mark) {
  progressed().wait(lock, [&] { return mark->done; });
  return cudaSuccess;
}

cudaError_t invalidate(const CapturePtr& capture, cudaError_t error, const char* call) {
  if (capture) capture->valid = false;
  return fail(error, "%s", call);
}

/// Handles 0 to 2 are the device's own stream, which waits for streams that block; none of those may be
/// captured.
cudaError_t implicit(cudaStream_t handle, const char* call) {
  if (reinterpret_cast<uintptr_t>(handle) > 2) return cudaSuccess;
  for (const auto& capture : streams().captures) {
    if (capture->origin->device != current_device() || (capture->origin->flags & cudaStreamNonBlocking))
      continue;
    return invalidate(capture, cudaErrorStreamCaptureImplicit, call);
  }
  return cudaSuccess;
}

}  // namespace

Stream* find(cudaStream_t handle) {
  Streams& all = streams();
  if (reinterpret_cast<uintptr_t>(handle) <= 2) {
    Stream*& own = all.own[current_device()];
    if (own == nullptr) {
      own = new Stream;
      own->device = current_device();
    }
    return own;
  }
  auto* stream = reinterpret_cast<Stream*>(handle);
  return all.all.count(stream) > 0 ? stream : nullptr;
}

cudaError_t enqueue(cudaStream_t handle, const char* what, std::function<void()> run) {
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "%s: no such stream", what);
  if (stream->capture) {
    if (!stream->capture->valid) return fail(cudaErrorStreamCaptureInvalidated, "%s", what);
    add_node(*stream, std::move(run));
    return cudaSuccess;
  }
  if (const auto error = implicit(handle, what)) return error;
  push(*stream, {std::move(run), nullptr});
  return cudaSuccess;
}

void enqueue_wait(cudaStream_t handle, MarkPtr mark) {
  if (Stream* stream = find(handle)) push(*stream, {nullptr, std::move(mark)});
}

void advance() {
  for (bool any = true; any;) {
    any = false;
    for (Stream* stream : streams().all) any = (!stream->queue.empty() && run_queue(*stream)) || any;
    for (const auto& [device, stream] : streams().own)
      any = (!stream->queue.empty() && run_queue(*stream)) || any;
  }
  progressed().notify_all();
}

cudaError_t allowed_in_capture(const char* call) {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (const auto& capture : streams().captures) {
    const bool own = capture->thread == std::this_thread::get_id();
    if ((own && capture->mode != cudaStreamCaptureModeRelaxed) ||
        (thread_mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal)) {
      return invalidate(capture, cudaErrorStreamCaptureUnsupported, call);
    }
  }
  return cudaSuccess;
}

uint64_t count_in_graph(cudaStream_t handle) {
  Stream* stream = find(handle);
  if (stream == nullptr || !stream->capture) return 0;
  ++stream->capture->launches;
  return stream->capture->id;
}

}  // namespace dry

using namespace dry;

// ---- Streams ----

DRY_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* out, unsigned flags, int priority) {
  const Lock lock(guard());
  auto* stream = new Stream;
  stream->device = current_device();
  stream->flags = flags;
  stream->priority = priority;
  stream->id = streams().next_id++;
  streams().all.insert(stream);
  *out = reinterpret_cast<cudaStream_t>(stream);
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  return cudaStreamCreateWithPriority(out, flags, 0);
}

DRY_API cudaError_t cudaStreamCreate(cudaStream_t* out) {
  return cudaStreamCreateWithPriority(out, 0, 0);
}

DRY_API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamDestroy");
  // Work that is left finishes first; the memory stays, so that captures may name it.
  if (stream->queue.empty()) streams().all.erase(stream);
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamGetPriority");
  *priority = stream->priority;
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamQuery");
  if (stream->capture)
    return invalidate(stream->capture, cudaErrorStreamCaptureUnsupported, "cudaStreamQuery");
  return stream->queue.empty() ? cudaSuccess : quiet(cudaErrorNotReady);
}

DRY_API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamSynchronize");
  if (stream->capture)
    return invalidate(stream->capture, cudaErrorStreamCaptureUnsupported, "cudaStreamSynchronize");
  log("wait stream=%d", stream->id);
  auto mark = std::make_shared<Mark>();
  push(*stream, {[mark] { mark->done = true; }, nullptr});
  return wait(lock, mark);
}

DRY_API cudaError_t cudaDeviceSynchronize() {
  Lock lock(guard());
  if (const auto error = allowed_in_capture("cudaDeviceSynchronize")) return error;
  log("wait device");
  const int device = current_device();
  progressed().wait(lock, [&] {
    for (const Stream* stream : streams().all) {
      if (stream->device == device && !stream->queue.empty()) return false;
    }
    return true;
  });
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  Event* event = event_of(event_handle);
  if (stream == nullptr || event == nullptr)
    return fail(cudaErrorInvalidResourceHandle, "cudaStreamWaitEvent");
  if (event->capture) {
    if (!event->capture->origin->capture)
      return fail(cudaErrorCapturedEvent, "cudaStreamWaitEvent: its capture ended");
    if (stream->capture && stream->capture != event->capture) {
      return invalidate(stream->capture, cudaErrorStreamCaptureMerge, "cudaStreamWaitEvent");
    }
    stream->capture = event->capture;
    merge(stream->clock, event->clock);
    return cudaSuccess;
  }
  if (stream->capture) {
    // An event from outside: allowed only where nothing was recorded in it.
    return event->recorded
               ? invalidate(stream->capture, cudaErrorStreamCaptureIsolation, "cudaStreamWaitEvent")
               : cudaSuccess;
  }
  log("follow stream=%d", stream->id);
  if (event->recorded && !event->mark->done) push(*stream, {nullptr, event->mark});
  return cudaSuccess;
}

static cudaError_t host_function(const char* call, cudaStream_t handle, std::function<void()> run) {
  Lock lock(guard());
  log("host function");
  return enqueue(handle, call, std::move(run));
}

DRY_API cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return host_function("cudaLaunchHostFunc", handle, [=] { function(data); });
}

DRY_API cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t function, void* data,
                                          unsigned) {
  return host_function("cudaStreamAddCallback", handle, [=] { function(handle, cudaSuccess, data); });
}

// ---- Events ----

DRY_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned flags) {
  const Lock lock(guard());
  auto* event = new Event;
  event->device = current_device();
  event->flags = flags;
  streams().events.insert(event);
  *out = reinterpret_cast<cudaEvent_t>(event);
  return cudaSuccess;
}

DRY_API cudaError_t cudaEventCreate(cudaEvent_t* out) {
  return cudaEventCreateWithFlags(out, cudaEventDefault);
}

DRY_API cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  const Lock lock(guard());
  Event* event = event_of(handle);
  if (event == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaEventDestroy");
  streams().events.erase(event);
  delete event;
  return cudaSuccess;
}

DRY_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream_handle, unsigned flags) {
  const Lock lock(guard());
  Stream* stream = find(stream_handle);
  Event* event = event_of(handle);
  if (stream == nullptr || event == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaEventRecord");
  if (stream->device != event->device) {
    return fail(cudaErrorInvalidResourceHandle,
                "cudaEventRecord: event of device %d on a stream of device %d", event->device,
                stream->device);
  }
  event->recorded = true;
  if (stream->capture && flags != cudaEventRecordExternal) {
    event->capture = stream->capture;
    event->clock = stream->clock;
    return cudaSuccess;
  }
  event->capture = nullptr;
  event->mark = std::make_shared<Mark>();
  log("record stream=%d", stream->id);
  auto mark = event->mark;
  push(*stream, {[mark, event] {
                   mark->done = true;
                   if (streams().events.count(event) > 0 && event->mark == mark)
                     event->time = std::chrono::steady_clock::now();
                 },
                 nullptr});
  return cudaSuccess;
}

DRY_API cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
  return cudaEventRecordWithFlags(handle, stream, cudaEventRecordDefault);
}

DRY_API cudaError_t cudaEventQuery(cudaEvent_t handle) {
  const Lock lock(guard());
  Event* event = event_of(handle);
  if (event == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaEventQuery");
  if (const auto error = allowed_in_capture("cudaEventQuery")) return error;
  if (event->capture) return fail(cudaErrorCapturedEvent, "cudaEventQuery");
  return !event->recorded || event->mark->done ? cudaSuccess : quiet(cudaErrorNotReady);
}

DRY_API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  Lock lock(guard());
  Event* event = event_of(handle);
  if (event == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaEventSynchronize");
  if (const auto error = allowed_in_capture("cudaEventSynchronize")) return error;
  if (event->capture) return fail(cudaErrorCapturedEvent, "cudaEventSynchronize");
  log("wait event");
  return event->recorded ? wait(lock, MarkPtr(event->mark)) : cudaSuccess;
}

DRY_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const Lock lock(guard());
  Event* begin = event_of(from);
  Event* end = event_of(to);
  if (begin == nullptr || end == nullptr || !begin->recorded || !end->recorded ||
      ((begin->flags | end->flags) & cudaEventDisableTiming)) {
    return fail(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime: an event without time");
  }
  if (!begin->mark->done || !end->mark->done) return quiet(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}

// ---- Capture ----

DRY_API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamBeginCapture");
  if (stream->capture || reinterpret_cast<uintptr_t>(handle) <= 2) {
    return fail(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture");
  }
  auto capture = std::make_shared<Capture>();
  capture->id = streams().next_capture++;
  capture->mode = mode;
  capture->origin = stream;
  capture->thread = std::this_thread::get_id();
  stream->capture = capture;
  stream->clock.clear();
  streams().captures.push_back(capture);
  log("capture begin stream=%d", stream->id);
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  const Lock lock(guard());
  *out = nullptr;
  Stream* stream = find(handle);
  if (stream == nullptr || !stream->capture) return fail(cudaErrorInvalidValue, "cudaStreamEndCapture");
  const CapturePtr capture = stream->capture;
  if (capture->origin != stream)
    return invalidate(capture, cudaErrorStreamCaptureUnmatched, "cudaStreamEndCapture");
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
    return invalidate(capture, cudaErrorStreamCaptureWrongThread, "cudaStreamEndCapture");
  }
  bool joined = true;
  for (const auto& [other, count] : capture->sequence) joined = joined && stream->clock[other] >= count;
  for (Stream* other : streams().all) {
    if (other->capture != capture) continue;
    other->capture = nullptr;
    other->clock.clear();
  }
  std::erase(streams().captures, capture);
  log("capture end launches=%zu nodes=%zu", capture->launches, capture->nodes);
  if (!capture->valid) return fail(cudaErrorStreamCaptureInvalidated, "cudaStreamEndCapture");
  if (!joined) return fail(cudaErrorStreamCaptureUnjoined, "cudaStreamEndCapture");
  auto* graph = new Graph{capture};
  streams().graphs.insert(graph);
  *out = reinterpret_cast<cudaGraph_t>(graph);
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(handle, status, nullptr, nullptr, nullptr, nullptr, nullptr);
}

DRY_API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                             unsigned long long* id, cudaGraph_t* graph,
                                             const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges,
                                             size_t* count) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamGetCaptureInfo");
  const Capture* capture = stream->capture.get();
  if (capture == nullptr) {
    if (const auto error = implicit(handle, "cudaStreamIsCapturing")) return error;
  }
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->valid   ? cudaStreamCaptureStatusActive
                               : cudaStreamCaptureStatusInvalidated;
  if (id != nullptr) *id = capture != nullptr ? capture->id : 0;
  if (graph != nullptr) *graph = nullptr;
  if (nodes != nullptr) *nodes = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (count != nullptr) *count = 0;
  return cudaSuccess;
}

DRY_API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* out, cudaGraph_t handle,
                                                  unsigned long long) {
  const Lock lock(guard());
  auto* graph = reinterpret_cast<Graph*>(handle);
  if (streams().graphs.count(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphInstantiate");
  auto* executable = new Graph{graph->capture};
  streams().graphs.insert(executable);
  *out = reinterpret_cast<cudaGraphExec_t>(executable);
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  const Lock lock(guard());
  auto* graph = reinterpret_cast<Graph*>(handle);
  if (streams().graphs.count(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphLaunch");
  const CapturePtr capture = graph->capture;
  log("graph launches=%zu nodes=%zu", capture->launches, capture->nodes);
  return enqueue(stream, "cudaGraphLaunch", [capture] {
    for (const auto& work : capture->work) work();
  });
}

static cudaError_t drop(Graph* graph) {
  const Lock lock(guard());
  if (streams().graphs.erase(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphDestroy");
  delete graph;
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return drop(reinterpret_cast<Graph*>(graph));
}

DRY_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  return drop(reinterpret_cast<Graph*>(graph));
}

DRY_API cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t*, size_t* count) {
  const Lock lock(guard());
  auto* graph = reinterpret_cast<Graph*>(handle);
  if (streams().graphs.count(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphGetNodes");
  *count = graph->capture->nodes;
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) {
  return cudaSuccess;
}
