// Trains a tiny model on any mesh of rank threads and collects what a comparison between meshes needs.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "models/model.h"
#include "train/trainer.h"

namespace tessera::testing {

/// One training job. Documents are numbered over the whole job: step s takes documents [s*documents,
/// (s+1)*documents), dp rank r the r-th contiguous part, cut into `microbatches` parts (some of which may be
/// empty).
struct TrainingRun {
  ModelConfig config;
  TrainerOptions options;
  MeshSpec mesh;
  int ranks = 1;
  int documents = 16;
  int microbatches = 1;
  int steps = 3;
  int joined = 1;                         ///< so many documents in a row are one long one
  std::map<std::string, at::Tensor> set;  ///< parameters that are not trained, written before the first step
  /// Where: on the cpu, on fake devices (support/fake_device.h) with or without NCCL between them, or on
  /// GPUs.
  enum class On { cpu, device_nccl, device_staged, cuda } on = On::cpu;
};

struct TrainingOutcome {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<int64_t> label_tokens;
  std::vector<ExpertMetrics> experts;
  std::map<std::string, at::Tensor> gradients;  ///< of the first step
  std::map<std::string, at::Tensor> weights;    ///< after the last step
};

/// hidden 24, 2 layers, vocabulary 37: nothing divides by 8, and norm weights have fewer rows than some
/// meshes have ranks.
ModelConfig tiny_config(bool tied = false);
/// float32 everywhere, SGD-free AdamW with a rate that moves every weight.
TrainerOptions tiny_options();
/// Of tiny_options() with SGD and momentum: AdamW would blow up the rounding of gradients that are almost
/// zero.
TrainingRun sgd_run(const ModelConfig& config, const MeshSpec& mesh = {.dp_shard = 1});

/// A mesh with what else decides how a job is laid over its ranks.
struct Way {
  MeshSpec mesh;
  bool sequence_parallel = false;
  ContextExchange exchange = ContextExchange::ring;
  PipelineSchedule schedule = PipelineSchedule::one_f_one_b;
  Recompute recompute = Recompute::selective;
};
/// sgd_run() laid out that way, in micro-batches enough for its pipeline.
TrainingRun sgd_run_on(const ModelConfig& config, const Way& way);

/// Document `index`: 1 to 13 tokens, some labels ignored; the same for every caller.
PackedBatch documents_batch(int first, int count, int64_t vocab, int joined = 1);
/// The micro-batches of one dp rank for one step.
std::vector<PackedBatch> step_batches(const TrainingRun& run, int step, int dp_rank, int dp_size);

TrainingOutcome train(const TrainingRun& run);
/// Runs `body` with a trainer on each rank of a mesh; `checkpoint` is a Hugging Face directory, or "".
void with_trainers(const TrainingRun& run, const std::string& checkpoint,
                   const std::function<void(Trainer&, const DeviceMesh&)>& body);
/// Steps first to end - 1 of a run; rank 0 appends their losses.
void train_steps(const TrainingRun& run, Trainer& trainer, const DeviceMesh& mesh, int first, int end,
                 std::vector<double>& losses);

/// Largest relative_error over all tensors of `expected`; names must agree.
double worst_error(const std::map<std::string, at::Tensor>& actual,
                   const std::map<std::string, at::Tensor>& expected);
/// Trains and expects what one rank gave, in float32 up to the order of sums. Failures name the difference.
bool expect_outcome(const TrainingRun& run, const TrainingOutcome& one_rank, double gradient_error = 1e-5);
/// Bitwise equality of losses, norms, gradients and weights.
bool identical(const TrainingOutcome& a, const TrainingOutcome& b);

}  // namespace tessera::testing
