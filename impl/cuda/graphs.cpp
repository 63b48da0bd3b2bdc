// The plugin's table of CUDA graphs, over LibTorch's, which give a graph memory of its own.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

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

  explicit Graph(c10::DeviceIndex device) : stream(c10::cuda::getStreamFromPool(true, device)) {}
};

void explain(const std::exception& error, char* reason, size_t capacity) {
  if (capacity > 0) std::snprintf(reason, capacity, "%s", error.what());
  for (char* at = reason; capacity > 0 && *at != '\0'; ++at) {
    if (*at == '\n') *at = '\0';
  }
}

void* begin(int32_t device, char* reason, size_t capacity) {
  try {
    auto graph = std::make_unique<Graph>(static_cast<c10::DeviceIndex>(device));
    // What was queued before may be read by what is captured, when that is replayed: in stream order.
    graph->on_stream.emplace(graph->stream);
    // Other threads of the process are not this one's business.
    graph->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    return graph.release();
  } catch (const std::exception& error) {
    explain(error, reason, capacity);
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
