// Runs a program for this rank: the only place where a step computes and communicates, and where
// communication is timed.
#pragma once

#include <functional>
#include <vector>

#include "data/packed_batch.h"
#include "nn/unit.h"
#include "parallel/sharded_model.h"
#include "schedule/program.h"
#include "schedule/unit_traits.h"

namespace tessera {

struct ExecutionInput {
  const std::vector<PackedBatch>* microbatches = nullptr;
  /// Under context parallelism: one for each micro-batch (null where it has no tokens); otherwise empty.
  std::vector<ContextPlan*> contexts;
  double token_scale = 0;  ///< Microbatch::token_scale
  /// Microbatch::document_tokens by micro-batch; empty: all tokens are documents'.
  std::vector<at::Tensor> document_tokens;
  std::vector<at::Tensor> document_rows;  ///< the same on the device
  /// Microbatch::whole_tokens and places by micro-batch; empty: -1.
  std::vector<int64_t> whole_tokens;
  std::vector<at::Tensor> places;
  double loss_scale = 1.0;  ///< multiplied into every token's loss gradient
  int64_t loss_chunk = 0;   ///< tokens per chunk of logits; 0: chosen by the head
  Recompute recompute = Recompute::none;
  bool keep_activations = true;      ///< false for programs without backwards
  bool offload_activations = false;  ///< on a device: saved tensors wait in host memory
  int64_t hidden = 0;                ///< width of the activations between pipeline stages
  int64_t row_parts = 1;             ///< ranks that share a micro-batch's rows there (sequence parallelism)
  at::Tensor logit_rows;             ///< int64: rows of which `logits` makes logits; undefined: all
  /// What these two instructions do; `loss_sum` is that of the micro-batches so far, float64 [1] on the
  /// device, which has not been waited for.
  std::function<void(const at::Tensor& loss_sum)> grad_norm;
  std::function<void()> optimizer;
};

struct ExecutionResult {
  at::Tensor loss_sum;             ///< of this rank's labelled tokens, unscaled: float64 [1] on the device
  std::vector<at::Tensor> logits;  ///< per micro-batch, float32; none where the head is another stage's
  // Waiting for others or moving data, outside of units:
  double shard_seconds = 0;  ///< of weights and gradients
  double stage_seconds = 0;  ///< between pipeline stages
};

class Executor {
 public:
  explicit Executor(ShardedModel& model);

  /// Runs to the end. A micro-batch without tokens computes nothing and takes part in every collective. When
  /// an exception leaves, weights are what they were before the program (unless its optimizer had begun), and
  /// gradients are gone.
  ExecutionResult run(const Program& program, const ExecutionInput& input);
  /// Releases weights that a program kept gathered.
  void release_all();

  const std::vector<UnitTraits>& traits() const { return traits_; }

 private:
  struct Run;

  ShardedModel& model_;
  std::vector<UnitTraits> traits_;
};

/// What the schedule compilers must know of a model's units.
std::vector<UnitTraits> unit_traits(const std::vector<FsdpLayout>& layouts,
                                    const std::vector<std::unique_ptr<Unit>>& members);

}  // namespace tessera
