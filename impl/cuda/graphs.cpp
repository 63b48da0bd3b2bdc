// The plugin's table of CUDA graphs, over LibTorch's, which give a graph memory of its own.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <optional>

#include "core/cuda_graphs.h"

namespace tessera {
namespace {

struct Graph {
  at::cuda::CUDAGraph graph;
  c10::cuda::CUDAStream stream;
  std::optional<c10::cuda::CUDAStreamGuard> on_stream;
  at::MempoolId_t memory;

  explicit Graph(c10::DeviceIndex device)
      : stream(c10::cuda::getStreamFromPool(true, device)), memory(at::cuda::graph_pool_handle()) {}
};

/// Whether the capture was ended, so that the graph's destructor gives its memory back.
bool has_ended(Graph& graph) {
  try {
    static_cast<void>(graph.graph.pool());
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

/// LibTorch leaves its allocators in the capture when that could not be begun or ended: all that they gave
/// out from then on would be asked whether it belongs to a graph that is gone.
void leave_capture(Graph& graph) {
  if (has_ended(graph)) return;
  const c10::DeviceIndex device = graph.stream.device_index();
  at::HostAllocator* host = at::getHostAllocator(at::kCUDA);
  const auto tried = [](const auto& call) {
    try {
      call();
    } catch (const std::exception&) {
      return;  // it had not come so far
    }
  };
  tried([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device, graph.memory); });
  tried([&] { c10::cuda::CUDACachingAllocator::releasePool(device, graph.memory); });
  tried([&] { host->end_allocate_to_pool(graph.memory); });
  tried([&] { host->release_pool(graph.memory); });
}

void explain(const std::exception& error, char* reason, size_t capacity) {
  if (capacity > 0) std::snprintf(reason, capacity, "%s", error.what());
  for (char* at = reason; capacity > 0 && *at != '\0'; ++at) {
    if (*at == '\n') *at = '\0';
  }
}

void* begin(int32_t device, char* reason, size_t capacity) {
  std::unique_ptr<Graph> graph;
  try {
    graph = std::make_unique<Graph>(static_cast<c10::DeviceIndex>(device));
    // What was queued before may be read by what is captured, when that is replayed: in stream order.
    graph->on_stream.emplace(graph->stream);
    // Pinned memory is allocated on the way, which the other modes forbid; they also watch calls of other
    // threads.
    graph->graph.capture_begin(graph->memory, cudaStreamCaptureModeRelaxed);
    return graph.release();
  } catch (const std::exception& error) {
    explain(error, reason, capacity);
    if (graph) leave_capture(*graph);
    return nullptr;
  }
}

bool end(void* handle, char* reason, size_t capacity) {
  auto* graph = static_cast<Graph*>(handle);
  bool fine = true;
  try {
    graph->graph.capture_end();
  } catch (const std::exception& error) {
    explain(error, reason, capacity);
    cudaGetLastError();  // clears it
    leave_capture(*graph);
    fine = false;
  }
  graph->on_stream.reset();
  return fine;
}

bool replay(void* handle, char* reason, size_t capacity) {
  try {
    static_cast<Graph*>(handle)->graph.replay();
    return true;
  } catch (const std::exception& error) {
    explain(error, reason, capacity);
    return false;
  }
}

void free_graph(void* handle) {
  try {
    delete static_cast<Graph*>(handle);
  } catch (const std::exception&) {
    return;  // of a device that has failed there is nothing left to free
  }
}

constexpr CudaGraphs kGraphs{kCudaGraphsAbi, begin, end, replay, free_graph};

}  // namespace
}  // namespace tessera

extern "C" __attribute__((visibility("default"))) const tessera::CudaGraphs* tessera_cuda_graphs() {
  return &tessera::kGraphs;
}
