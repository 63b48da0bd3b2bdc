// Which steps are captured, and the plugin's graphs.
#include "train/step_graphs.h"

#include "core/cuda_graphs.h"
#include "core/cuda_plugin.h"
#include "core/error.h"

namespace tessera {
namespace {

/// Layouts that are remembered without a graph.
constexpr size_t kMostSeen = 1024;

class CudaWork final : public CapturedWork {
 public:
  CudaWork(const CudaGraphs& cuda, void* graph) : cuda_(cuda), graph_(graph) {}
  ~CudaWork() override { cuda_.free(graph_); }
  CudaWork(const CudaWork&) = delete;
  CudaWork& operator=(const CudaWork&) = delete;

  void replay() override {
    char reason[256] = "";
    TESSERA_CHECK(cuda_.replay(graph_, reason, sizeof reason), device, "a captured step: ", reason);
  }

 private:
  const CudaGraphs& cuda_;
  void* graph_;
};

class CudaEngine final : public GraphEngine {
 public:
  CudaEngine(const CudaGraphs& cuda, at::Device device) : cuda_(cuda), device_(device) {}

  std::unique_ptr<CapturedWork> capture(const std::function<void()>& body) override {
    char reason[256] = "";
    void* graph = cuda_.begin(device_.index(), reason, sizeof reason);
    TESSERA_CHECK(graph != nullptr, unsupported, "cuda.graphs=true: ", reason);
    try {
      body();
    } catch (...) {
      char ignored[8];
      cuda_.end(graph, ignored, sizeof ignored);
      cuda_.free(graph);
      throw;
    }
    if (cuda_.end(graph, reason, sizeof reason)) return std::make_unique<CudaWork>(cuda_, graph);
    cuda_.free(graph);
    throw Error(Code::unsupported, cat("cuda.graphs=true: the step cannot be captured: ", reason));
  }

 private:
  const CudaGraphs& cuda_;
  at::Device device_;
};

}  // namespace

std::shared_ptr<GraphEngine> cuda_graph_engine(at::Device device) {
  using Entry = const CudaGraphs* (*)();
  const auto entry = reinterpret_cast<Entry>(cuda_plugin_symbol(kCudaGraphsSymbol));
  const CudaGraphs* cuda = entry ? entry() : nullptr;
  TESSERA_CHECK(cuda != nullptr && cuda->abi == kCudaGraphsAbi, device,
                "cuda.graphs=true: libtessera_cuda.so is of another build than libtessera.so");
  return std::make_shared<CudaEngine>(*cuda, device);
}

std::string graph_obstacle(const TrainerOptions& options, const ModelConfig& config, int ranks,
                           at::Device device) {
  if (device.is_cpu()) return "device=cpu has no graphs";
  if (ranks > 1) return cat(ranks, " ranks: the host watches over collectives while they run");
  if (config.moe.experts > 0) {
    return cat("a model with ", config.moe.experts, " experts: how many rows each has comes to the host");
  }
  if (options.offload) return "memory.offload=true: the host's memory changes while a step runs";
  if (options.offload_activations) return "memory.offload_activations=true: host memory comes and goes";
  return "";
}

GraphKey graph_key(const std::vector<PackedBatch>& microbatches) {
  GraphKey key = {static_cast<int64_t>(microbatches.size())};
  for (const PackedBatch& batch : microbatches) {
    key.insert(key.end(), {batch.tokens_count(), batch.label_count, batch.documents()});
    if (batch.documents() == 0) continue;
    for (const at::Tensor& bounds : {batch.cu_seqlens, batch.cu_seqlens_padded}) {
      const int32_t* at = bounds.const_data_ptr<int32_t>();
      key.insert(key.end(), at, at + bounds.numel());
    }
  }
  return key;
}

StepGraphs::Turn StepGraphs::turn(const GraphKey& key) {
  const auto found = graphs_.find(key);
  if (found != graphs_.end()) return found->second.work ? Turn::replay : Turn::capture;
  if (graphs_.size() >= kMost) return Turn::eager;
  if (seen_.size() >= kMostSeen) seen_.clear();
  if (++seen_[key] < 2) return Turn::eager;
  seen_.erase(key);
  graphs_.emplace(key, Graph());
  return Turn::capture;
}

}  // namespace tessera
