// The inside of Trainer, shared by the files that implement it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "core/caught.h"
#include "core/error.h"
#include "parallel/sharded_model.h"
#include "schedule/compile.h"
#include "schedule/executor.h"
#include "train/expert_loads.h"
#include "train/trainer.h"

namespace tessera {

/// An error that every rank of the mesh throws at the same point, so that the world stays usable.
class AgreedError : public Error {
 public:
  explicit AgreedError(const Error& error) : Error(error) {}
};

/// What all ranks know of a step before it computes. Ranks of one dp index are given the same micro-batches,
/// which count once.
struct StepTotals {
  int64_t label_tokens = 0;
  int64_t tokens = 0;
  int64_t document_tokens = 0;  ///< padding left out
};

/// What this rank computes of the micro-batches of its dp index.
struct LocalBatches {
  std::vector<PackedBatch> batches;
  std::vector<ContextBatch> split;          ///< empty when cp is 1
  std::vector<at::Tensor> document_tokens;  ///< of models with experts
  std::vector<at::Tensor> document_rows;    ///< the same on the device
  // Of experts with a capacity, in training:
  std::vector<int64_t> whole_tokens;  ///< of the micro-batch on all ranks of cp
  std::vector<at::Tensor> places;     ///< Microbatch::places

  void give_to(ExecutionInput& input) const;
};

class StepGraphs;

struct Trainer::Impl {
  ~Impl();
  Impl(DeviceMeshPtr mesh, const ModelConfig& config, const std::string& checkpoint,
       const TrainerOptions& options);

  // trainer.cpp: set-up and programs.
  StepOptions options_of_step(int64_t microbatches, bool update) const;
  /// This rank's program, after the check of those of all stages.
  Program compile_step(const StepOptions& step) const;
  Program compile_forward_step(int64_t microbatches, Op head, bool keep) const;
  const Program& step_program(int64_t microbatches, bool update);
  /// What an execution needs to know of pipeline transfers.
  void describe_transfers(ExecutionInput& input) const;

  // step.cpp: training and evaluation.
  /// Before the first activations. Made after them, at the first update, it would take parts of the blocks
  /// that a device's allocator keeps of them, and the next step would need new ones.
  void make_optimizer_state();
  StepMetrics run_step(const std::vector<PackedBatch>& microbatches, bool update, int64_t loss_denominator);
  StepMetrics update_alone();
  /// Forward and backward of all micro-batches by a graph; false where this step is to be run as it is.
  bool run_captured(const std::vector<PackedBatch>& microbatches, const StepTotals& totals);
  ExecutionInput input_of(const LocalBatches& local, const StepTotals& totals, int64_t denominator) const;
  EvalMetrics evaluate(const std::vector<PackedBatch>& microbatches);
  StepTotals agree_on(const std::vector<PackedBatch>& microbatches);
  bool differs_in_model_group(double digest);
  void sum_loss_and_norm(const at::Tensor& local_loss, bool with_norm);
  void update_weights();
  void forget_gradients();
  StepMetrics metrics(const StepTotals& totals, double seconds) const;

  /// `training`: experts have their capacity.
  LocalBatches local_batches(const std::vector<PackedBatch>& microbatches, bool training = false) const;
  /// Tells routers what all of them will choose in the step, where the balance loss asks for it. Collective.
  void count_choices(const LocalBatches& local);

  // generate.cpp.
  std::vector<int64_t> generate(const std::vector<int64_t>& prompt, const GenerateOptions& options);
  at::Tensor logits(const PackedBatch& batch);
  at::Tensor from_last_stage(const std::vector<at::Tensor>& formed, int64_t rows);
  at::Tensor run_logits(const Program& program, const PackedBatch& batch, const at::Tensor& rows);

  // parameters.cpp.
  at::Tensor gather_full(const FsdpParam& param, const at::Tensor& mine);
  const ShardedModel::Known& known_parameter(const std::string& name) const;
  at::Tensor full_on_all_stages(const ShardedModel::Known& known,
                                const std::function<at::Tensor(const ParamAddress&)>& part);
  at::Tensor parameter(const std::string& name);
  at::Tensor gradient(const std::string& name);
  void set_parameter(const std::string& name, const at::Tensor& full);

  // checkpoint.cpp.
  std::vector<ShardedTensor> weight_shards();
  /// Weights and optimizer state.
  std::vector<ShardedTensor> training_state();

  /// Makes sure that what all ranks wrote into shared weights is there before a program reads them.
  /// Collective.
  void publish_weights();

  /// Runs one collective function of the public interface. An error that only this rank knows of ends the
  /// other ranks' waiting; gradients of a broken step are dropped.
  template <class Action>
  auto collective(Action&& action);
  void abandon(const std::string& reason) noexcept;

  /// Forgets what was exposed so far.
  void begin_metering();
  ExposedSeconds metered_seconds() const;

  DeviceMeshPtr mesh;
  ModelConfig config;
  TrainerOptions options;
  std::string source;                        ///< the Hugging Face directory the weights came from, or empty
  std::unique_ptr<ContextParallel> context;  ///< null when cp is 1
  ExposedTimePtr tp_exposed, cp_exposed;     ///< null where the device works on its own
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<ShardedModel> model;
  std::unique_ptr<ExpertLoads> loads;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<StepGraphs> graphs;  ///< null without cuda.graphs
  std::vector<UnitTraits> traits;
  std::map<std::pair<int64_t, bool>, Program> programs;  ///< by micro-batches and whether they update

  int64_t steps = 0;
  bool optimizer_state_made = false;
  bool weights_written = true;      ///< shared weights changed since all ranks met
  bool gradients_readable = false;  ///< the shards hold the gradients of some step
  int64_t pending_labels = 0;       ///< labelled tokens behind the gradients not yet used
  std::thread::id thread;

  // Of the step under way, or the latest.
  double loss_sum = 0;
  double grad_norm = 0;
  double lr = 0;
  ExposedSeconds exposed;
};

template <class Action>
auto Trainer::Impl::collective(Action&& action) {
  if (thread != std::this_thread::get_id()) {
    mesh->world()->bind_thread();
    thread = std::this_thread::get_id();
  }
  try {
    return action();
  } catch (const AgreedError&) {
    throw;
  } catch (const std::exception& error) {
    abandon(text_of(error));
    throw;
  } catch (...) {
    abandon("unknown error");
    throw;
  }
}

}  // namespace tessera
