// Streams and events. What is put on a stream happens at once, unless an operation of several ranks before it
// waits for another rank: then it queues, as on a device.
#include <algorithm>

#include "stream_parts.h"
#include "trace.h"

namespace dry {

Streams& streams() {
  static auto* all = new Streams;
  return *all;
}

namespace {

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

Event* event_of(cudaEvent_t handle) {
  auto* event = reinterpret_cast<Event*>(handle);
  return streams().events.count(event) > 0 ? event : nullptr;
}

cudaError_t wait(Lock& lock, const MarkPtr& mark) {
  progressed().wait(lock, [&] { return mark->done; });
  return cudaSuccess;
}

}  // namespace

Stream* find(cudaStream_t handle, int device) {
  Streams& all = streams();
  if (reinterpret_cast<uintptr_t>(handle) <= 2) {
    Stream*& own = all.own[device];
    if (own == nullptr) {
      own = new Stream;
      own->device = device;
    }
    return own;
  }
  auto* stream = reinterpret_cast<Stream*>(handle);
  return all.all.count(stream) > 0 ? stream : nullptr;
}

cudaError_t enqueue(cudaStream_t handle, const char* what, std::function<void()> run) {
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "%s: no such stream", what);
  note_work(*stream);
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
  trace("await", *stream);
  auto mark = std::make_shared<Mark>();
  push(*stream, {[mark] { mark->done = true; }, nullptr});
  return wait(lock, mark);
}

DRY_API cudaError_t cudaDeviceSynchronize() {
  Lock lock(guard());
  if (const auto error = allowed_in_capture("cudaDeviceSynchronize")) return error;
  log("wait device");
  const int device = current_device();
  trace("await_device %d", device);
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
    trace_follow(*stream, event->id);
    return cudaSuccess;
  }
  if (stream->capture) {
    // An event from outside: allowed only where nothing was recorded in it.
    return event->recorded
               ? invalidate(stream->capture, cudaErrorStreamCaptureIsolation, "cudaStreamWaitEvent")
               : cudaSuccess;
  }
  log("follow stream=%d", stream->id);
  if (event->recorded) trace_follow(*stream, event->id);
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
  event->id = streams().next_event++;
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
  trace("record", *stream, event->id);
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
  if (event->recorded && !event->mark->done) return quiet(cudaErrorNotReady);
  if (event->recorded) trace("queried %d", event->id);
  return cudaSuccess;
}

DRY_API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  Lock lock(guard());
  Event* event = event_of(handle);
  if (event == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaEventSynchronize");
  if (const auto error = allowed_in_capture("cudaEventSynchronize")) return error;
  if (event->capture) return fail(cudaErrorCapturedEvent, "cudaEventSynchronize");
  log("wait event");
  if (event->recorded) trace("reached %d", event->id);
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
