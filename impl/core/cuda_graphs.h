// CUDA graphs as plain C functions of libtessera_cuda.so.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

/// Functions that can fail write why to `reason`.
struct CudaGraphs {
  int32_t abi;  ///< kCudaGraphsAbi of the plugin's build
  /// From now on this thread's work goes to a stream of its own, where it is taken down and not done; null
  /// when that fails.
  void* (*begin)(int32_t device, char* reason, size_t capacity);
  /// Work goes where it went before. False when something could not be captured: the graph is of no use.
  bool (*end)(void* graph, char* reason, size_t capacity);
  /// On the current stream.
  bool (*replay)(void* graph, char* reason, size_t capacity);
  void (*free)(void* graph);
};
inline constexpr int32_t kCudaGraphsAbi = 1;
inline constexpr const char* kCudaGraphsSymbol = "tessera_cuda_graphs";

}  // namespace tessera
