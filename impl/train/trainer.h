// Trainer: one rank's part of training a model on a mesh. It joins units, FSDP storage, program, optimizer
// and checkpoints; the work is done in schedule/, parallel/, optim/ and checkpoint/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "context/context_parallel.h"
#include "data/packed_batch.h"
#include "kernels/float8.h"
#include "mesh/device_mesh.h"
#include "models/model.h"
#include "nn/unit.h"
#include "optim/optimizer.h"
#include "parallel/unit_policy.h"
#include "schedule/program.h"
#include "schedule/storage_pass.h"
#include "train/pipeline.h"

namespace tessera {

struct PrecisionOptions {
  at::ScalarType param = at::kBFloat16;  ///< gathered weights, activations, GEMMs
  at::ScalarType reduce = at::kFloat;    ///< gradient reduction
  at::ScalarType output = at::kFloat;    ///< logits and loss
  at::ScalarType master = at::kFloat;    ///< what the optimizer trains
};

class GraphEngine;

/// Linear layers of decoder layers in float8 (kernels/float8.h): not the head, embeddings, routers or routed
/// experts.
struct Float8Options {
  kernels::Float8Recipe recipe = kernels::Float8Recipe::none;
  std::vector<std::string>
      filter_fqns;  ///< layers whose names contain one of these stay in the compute dtype
  /// Of tensorwise: weights are cast before FSDP gathers them, by scales that all ranks share.
  bool fsdp_all_gather = false;
};

/// Of models with experts.
struct ExpertOptions {
  /// Experts' widths are cut over tp. Otherwise ep counts the ranks of tp too, and each expert is whole.
  bool split_width = false;
  std::string exchange = "all_to_all";  ///< or all_gather (nn/expert_dispatch.h)
  double balance_loss = 0;              ///< coefficient of the load-balancing loss, per layer (nn/router.h)
  double z_loss = 0;                    ///< coefficient of the router z-loss, per layer
  /// The balance loss of all tokens of a step (Qiu et al., 2025) in place of the mean over micro-batches of
  /// theirs. Exact also under accumulation: then a forward before the step counts what routers will choose.
  bool global_balance = false;
  double capacity_factor = 0;  ///< of experts in training (nn/moe.h); 0: no token is dropped
  /// What a selection bias moves per step against its expert's load; 0: not (train/expert_loads.h).
  double bias_update_speed = 0;
};

struct TrainerOptions {
  PrecisionOptions precision;
  Float8Options float8;
  Recompute recompute = Recompute::none;
  /// Weights rest as masters and are cast when they are gathered, in place of being kept in precision.param
  /// beside them; not where ranks share memory. Absent: on devices that recompute anything.
  std::optional<bool> cast_weights;
  bool offload = false;  ///< on a device: sharded weights, gradients and optimizer state on the host
  bool graphs = false;   ///< CUDA graphs of forward and backward (train/step_graphs.h)
  std::shared_ptr<GraphEngine> graph_engine;  ///< null: CUDA's (tests)
  bool offload_activations = false;           ///< on a device: what backwards need waits on the host
  ReshardPolicy reshard;
  UnitPolicy units;
  int64_t prefetch = 1;             ///< gathers in flight ahead of the compute
  bool defer_gradient_sync = true;  ///< under accumulation: reduce after the last micro-batch only
  bool sequence_parallel = false;
  std::string tp_plan = "auto";  ///< models/tp_plan.h
  ExpertOptions experts;
  ContextOptions context;
  PipelineOptions pipeline;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  double lr = 1e-4;
  double clip = 1.0;  ///< global gradient norm; 0 switches clipping off (the norm is still reported)
  int64_t seed = 0;   ///< initialisation without a checkpoint
  bool load_from_rank0 = false;  ///< the checkpoint is visible to rank 0 only: broadcast tensor by tensor
  int64_t loss_chunk = 0;        ///< tokens per chunk of logits; 0: chosen from the vocabulary
  bool copy_weights = false;     ///< gather by copying even where ranks share memory (tests, measurements)
};

/// Seconds of a step in which a rank did not compute but waited for others or moved data, by what for. Tensor
/// and context parallelism are measured on CPUs only.
struct ExposedSeconds {
  double dp = 0;    ///< weights and gradients: dp_shard, dp_replicate
  double tp = 0;    ///< inside blocks
  double cp = 0;    ///< keys and values
  double pp = 0;    ///< between stages; the pipeline's bubble counts in it
  double step = 0;  ///< agreeing on the step, loss and gradient norm: where ranks wait for the slowest

  double total() const { return dp + tp + cp + pp + step; }
};

/// How even the load of a model's experts was in a step, over all ranks. 0 for models without experts. A load
/// is the number of tokens that chose an expert, padding left out.
struct ExpertMetrics {
  double load_ratio = 0;    ///< most loaded expert / mean, of the layer where that is largest
  double idle = 0;          ///< share of all layers' experts that no token chose
  double balance_loss = 0;  ///< mean over tokens and layers, before the coefficient; 0 when that is 0
  double z_loss = 0;        ///< likewise
};

struct StepMetrics {
  int64_t step = 0;      ///< counts from 1
  double loss = 0;       ///< sum of token losses over all ranks / label_tokens
  double grad_norm = 0;  ///< before clipping
  double lr = 0;
  int64_t tokens = 0;  ///< over all ranks
  int64_t label_tokens = 0;
  double seconds = 0;
  double tokens_per_s = 0;
  double communication_seconds = 0;  ///< exposed.total()
  ExposedSeconds exposed;
  ExpertMetrics experts;
  int64_t memory =
      0;  ///< peak bytes of this rank: resident set on CPU (shared by rank threads), allocator on GPU
  int64_t memory_reserved = 0;  ///< peak bytes that the GPU's allocator held, those without a tensor too
};

struct EvalMetrics {
  double loss = 0;
  int64_t label_tokens = 0;
};

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  double temperature = 0;  ///< 0: greedy
  double top_p = 1;
  int64_t top_k = 0;
  int64_t seed = 0;
};

/// All functions are collective over the mesh and run on the rank's own thread. After a failed step the
/// trainer holds the weights of the step before it, and says so.
class Trainer {
 public:
  /// `checkpoint` is a Hugging Face directory to load weights from, or empty for seeded initialisation.
  Trainer(DeviceMeshPtr mesh, const ModelConfig& config, const std::string& checkpoint,
          const TrainerOptions& options);
  ~Trainer();

  const ModelConfig& config() const;
  const TrainerOptions& options() const;
  const DeviceMeshPtr& mesh() const;

  /// One optimizer step over this rank's micro-batches. The number of micro-batches is equal on all ranks.
  StepMetrics step(const std::vector<PackedBatch>& microbatches);
  /// The two halves of step(). Several forward_backward calls accumulate; each normalises by its own label
  /// count over all ranks unless `loss_denominator` gives the count of the whole step.
  StepMetrics forward_backward(const std::vector<PackedBatch>& microbatches, int64_t loss_denominator = 0);
  StepMetrics optimizer_step();
  void zero_grad();

  EvalMetrics evaluate(const std::vector<PackedBatch>& microbatches);
  /// Every rank passes the same prompt and gets the same tokens (the prompt is not repeated).
  std::vector<int64_t> generate(const std::vector<int64_t>& prompt, const GenerateOptions& options);
  /// Logits [T, V] float32 of the whole batch (tests, small models).
  at::Tensor logits(const PackedBatch& batch);

  std::vector<std::string> parameter_names() const;
  /// The full tensor in the master dtype; gradients are those of the last forward_backward, unclipped.
  at::Tensor parameter(const std::string& name);
  at::Tensor gradient(const std::string& name);
  void set_parameter(const std::string& name, const at::Tensor& full);

  int64_t step_count() const;
  /// The compiled step of this rank for `microbatches` micro-batches.
  Program program(int64_t microbatches) const;

  /// Sharded, atomic: weights, optimizer state, step count, and `data_state` with them. Any mesh may load it.
  /// When loading fails half-way the weights are those of neither: load again or make a new trainer.
  void save_checkpoint(const std::string& directory, const std::string& data_state);
  std::string load_checkpoint(const std::string& directory);
  /// A directory that transformers loads; each rank writes its own byte ranges.
  void export_hf(const std::string& directory, std::optional<at::ScalarType> dtype);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
