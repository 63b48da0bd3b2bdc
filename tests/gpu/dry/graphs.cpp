// Captures and graphs, with CUDA's rules and errors.
#include <algorithm>

#include "stream_parts.h"
#include "trace.h"

namespace dry {
namespace {

struct Graph {
  CapturePtr capture;
};

struct Graphs {
  std::unordered_set<Graph*> all;  // and their executable forms
  uint64_t next_capture = 1;
};

Graphs& graphs() {
  static auto* all = new Graphs;
  return *all;
}

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

}  // namespace

void add_node(Stream& stream, std::function<void()> run) {
  Capture& capture = *stream.capture;
  ++capture.nodes;
  stream.clock[&stream] = ++capture.sequence[&stream];
  if (run) capture.work.push_back(std::move(run));
}

cudaError_t invalidate(const CapturePtr& capture, cudaError_t error, const char* call) {
  if (capture) capture->valid = false;
  return fail(error, "%s", call);
}

cudaError_t implicit(cudaStream_t handle, const char* call) {
  if (reinterpret_cast<uintptr_t>(handle) > 2) return cudaSuccess;
  for (const auto& capture : streams().captures) {
    if (capture->origin->device != current_device() || (capture->origin->flags & cudaStreamNonBlocking))
      continue;
    return invalidate(capture, cudaErrorStreamCaptureImplicit, call);
  }
  return cudaSuccess;
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

DRY_API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  const Lock lock(guard());
  Stream* stream = find(handle);
  if (stream == nullptr) return fail(cudaErrorInvalidResourceHandle, "cudaStreamBeginCapture");
  if (stream->capture || reinterpret_cast<uintptr_t>(handle) <= 2) {
    return fail(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture");
  }
  auto capture = std::make_shared<Capture>();
  capture->id = graphs().next_capture++;
  capture->mode = mode;
  capture->origin = stream;
  capture->thread = std::this_thread::get_id();
  stream->capture = capture;
  stream->clock.clear();
  streams().captures.push_back(capture);
  log("capture begin stream=%d", stream->id);
  trace("capture", *stream, static_cast<int>(capture->id));
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
  trace("captured %d", static_cast<int>(capture->id));
  if (!capture->valid) return fail(cudaErrorStreamCaptureInvalidated, "cudaStreamEndCapture");
  if (!joined) return fail(cudaErrorStreamCaptureUnjoined, "cudaStreamEndCapture");
  auto* graph = new Graph{capture};
  graphs().all.insert(graph);
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
  if (graphs().all.count(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphInstantiate");
  auto* executable = new Graph{graph->capture};
  graphs().all.insert(executable);
  *out = reinterpret_cast<cudaGraphExec_t>(executable);
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  const Lock lock(guard());
  auto* graph = reinterpret_cast<Graph*>(handle);
  if (graphs().all.count(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphLaunch");
  const CapturePtr capture = graph->capture;
  log("graph launches=%zu nodes=%zu", capture->launches, capture->nodes);
  if (const Stream* on = find(stream)) trace("replay", *on, static_cast<int>(capture->id));
  return enqueue(stream, "cudaGraphLaunch", [capture] {
    for (const auto& work : capture->work) work();
  });
}

static cudaError_t drop(Graph* graph) {
  const Lock lock(guard());
  if (graphs().all.erase(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphDestroy");
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
  if (graphs().all.count(graph) == 0) return fail(cudaErrorInvalidResourceHandle, "cudaGraphGetNodes");
  *count = graph->capture->nodes;
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) {
  return cudaSuccess;
}
