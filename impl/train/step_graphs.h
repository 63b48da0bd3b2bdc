// CUDA graphs of steps: forward and backward of all micro-batches are captured once per layout and replayed,
// so that a step costs the host a copy of its tokens and one launch.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_batch.h"
#include "models/model.h"
#include "train/trainer_impl.h"

namespace tessera {

/// Device work that can be done again.
class CapturedWork {
 public:
  virtual ~CapturedWork() = default;
  /// Queues it on the current stream.
  virtual void replay() = 0;
};

class GraphEngine {
 public:
  virtual ~GraphEngine() = default;
  /// Runs `body` and takes down what it gives the device, which does nothing of it until replay(). Errors:
  /// those of `body`; unsupported when something in it cannot be captured.
  virtual std::unique_ptr<CapturedWork> capture(const std::function<void()>& body) = 0;
};
/// The plugin's. Errors (device): there is none.
std::shared_ptr<GraphEngine> cuda_graph_engine(at::Device device);

/// Why the steps of a job cannot be captured, for a person; empty: they can be.
std::string graph_obstacle(const TrainerOptions& options, const ModelConfig& config, int ranks,
                           at::Device device);

/// All that a captured step has fixed: the shapes and boundaries of every micro-batch, and how many labels
/// there are.
using GraphKey = std::vector<int64_t>;
GraphKey graph_key(const std::vector<PackedBatch>& microbatches);

/// The graphs of a job, by layout.
class StepGraphs {
 public:
  struct Graph {
    LocalBatches local;            ///< where a replay reads its tokens
    std::vector<at::Tensor> sent;  ///< host memory that captured copies read
    at::Tensor loss_sum;
    std::unique_ptr<CapturedWork> work;  ///< null until captured
  };
  enum class Turn : int {
    eager = 0,    ///< run it as it is
    capture = 1,  ///< capture it, then replay
    replay = 2,   ///< give it the tokens and replay
  };

  /// More layouts than this are run as they are: each graph has memory of its own.
  static constexpr size_t kMost = 8;

  explicit StepGraphs(std::shared_ptr<GraphEngine> engine) : engine_(std::move(engine)) {}

  /// What is to be done for a step of this layout. The first is eager: it makes what all later ones use. Of
  /// packed documents no layout may ever come back, so only what comes a second time is captured.
  Turn turn(const GraphKey& key);
  /// After turn() said capture or replay. The same for ever.
  Graph& graph(const GraphKey& key) { return graphs_.at(key); }
  GraphEngine& engine() { return *engine_; }

 private:
  std::shared_ptr<GraphEngine> engine_;
  std::map<GraphKey, Graph> graphs_;
  std::map<GraphKey, int> seen_;
};

}  // namespace tessera
