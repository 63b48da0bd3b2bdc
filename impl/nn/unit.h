// A unit: what is gathered, computed and released together (embedding, a decoder layer, the head). Units have
// an explicit forward and backward; there is no autograd graph and there are no hooks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "context/attend.h"
#include "data/packed_batch.h"
#include "tensor/placement.h"

namespace tessera {

/// How much of a forward is kept for its backward.
enum class Recompute : int {
  none = 0,       ///< keep all
  selective = 1,  ///< keep what GEMMs and attention made; norms and activations are computed again
  mlp = 2,        ///< as selective, and gate and up projections of an MLP (not of experts) again
  full = 3,       ///< keep the unit's input only and run its forward again
};

/// What a forward leaves for its backward, as a stack: backward pops in reverse order of the pushes. Every
/// tensor in it is defined; some are views that share a storage.
class Saved {
 public:
  void push(at::Tensor tensor) { tensors_.push_back(std::move(tensor)); }
  at::Tensor pop();
  void clear() { tensors_.clear(); }
  bool empty() const { return tensors_.empty(); }
  int64_t bytes() const;
  std::vector<at::Tensor>& tensors() { return tensors_; }

  /// The mode of the forward that filled this: its backward reads here what it will find on the stack.
  void set_recompute(Recompute recompute) { recompute_ = recompute; }
  Recompute recompute() const { return recompute_; }

 private:
  std::vector<at::Tensor> tensors_;
  Recompute recompute_ = Recompute::none;
};

/// Where a unit's weight gradients go. `target(i)` is the unsharded gradient of weight i, in the compute
/// dtype or float32, shaped like the weight. The first contribution of a reduction round overwrites, later
/// ones add.
class WeightGrads {
 public:
  /// The operands of one linear().
  struct Linear {
    int weight;
    at::Tensor x;
    at::Tensor dy;
  };

  virtual ~WeightGrads() = default;
  /// dW = dyᵀ x for a linear layer: x [T, in], dy [T, out]. May be kept for later (backward_weight of
  /// zero-bubble schedules), so the tensors must not be overwritten.
  virtual void linear(int weight, const at::Tensor& x, const at::Tensor& dy) = 0;
  /// linear() of many weights, each once: they may be formed side by side, or as one product.
  virtual void linears(const std::vector<Linear>& list) {
    for (const Linear& one : list) linear(one.weight, one.x, one.dy);
  }
  /// A gradient that is already formed (norm weights, biases, embeddings).
  virtual void add(int weight, const at::Tensor& grad) = 0;
  /// A gradient that `form` makes, perhaps later; what it holds on to must not be overwritten.
  virtual void add_formed(int weight, const std::function<at::Tensor()>& form) { add(weight, form()); }
  /// Rows `rows` [T] of an embedding get `dy` [T, H]; rows outside it are another rank's and skipped.
  virtual void add_rows(int weight, const at::Tensor& rows, const at::Tensor& dy) = 0;
};

/// How the experts of a model are spread over ranks (parallel/expert_mesh.h).
struct ExpertContext {
  int64_t size = 1;  ///< ep
  GroupPtr group;    ///< of `size` ranks that exchange tokens; null for one, and for units that never run
  /// Experts' widths are cut over tp, whose ranks see the same tokens. Otherwise ep goes over the ranks of tp
  /// too, which take a part of the tokens each.
  bool split_width = false;
  std::string exchange = "all_to_all";  ///< nn/expert_dispatch.h
  double balance_loss = 0;              ///< coefficients of nn/router.h
  double z_loss = 0;
  GroupPtr sharers;  ///< ranks that have parts of one micro-batch; null for one
  /// The balance loss is that of all tokens of a step, and `everyone` the ranks that have them (null for
  /// one).
  bool global_balance = false;
  GroupPtr everyone;
  double capacity_factor = 0;  ///< nn/moe.h; 0: experts take whatever comes
};

/// How a model is cut over the tp and ep axes, for those who build its units.
struct ParallelContext {
  int64_t tp_size = 1;
  GroupPtr tp;  ///< of tp_size ranks; null for units that are planned with and never run
  bool sequence_parallel = false;
  /// The first and the last unit live on different ranks: with tied embeddings each has the weight.
  bool split_ends = false;
  /// parallel.tp_plan (models/tp_plan.h).
  std::string tp_plan = "auto";
  ExpertContext experts;
};

/// What one forward or backward call sees beside activations.
struct Microbatch {
  const PackedBatch* batch = nullptr;
  /// Multiplied into every token's loss gradient: 1 / (labelled tokens of the whole step over all ranks).
  double loss_scale = 1.0;
  /// The share of one token in losses that are means over tokens, scaled like the loss: labelled tokens *
  /// loss_scale / tokens of documents in the whole step over all ranks.
  double token_scale = 0;
  /// The tokens that are a document's, int64, ascending; undefined: all. The others are padding, which
  /// experts never see. In host memory, and again where the weights are.
  at::Tensor document_tokens;
  at::Tensor document_rows;
  /// Where experts have a capacity: the tokens of the whole micro-batch, padding included, and the place
  /// among them of each token of `batch` (int64 on the cpu, -1 for padding; undefined: the same). -1: they
  /// have none.
  int64_t whole_tokens = -1;
  at::Tensor places;
  /// Rows of logits that the head forms at a time; 0: chosen from the vocabulary.
  int64_t loss_chunk = 0;
  /// Under context parallelism `batch` is this rank's part and attention goes through this; otherwise null.
  ContextPlan* context = nullptr;
};

class Unit {
 public:
  explicit Unit(std::string name) : name_(std::move(name)) {}
  virtual ~Unit() = default;

  const std::string& name() const { return name_; }
  /// Weights in the order that bind() and WeightGrads use.
  const std::vector<ParamSpec>& params() const { return params_; }
  /// For each weight after params(): the unit and index it is borrowed from (tied embeddings). bind()
  /// receives params().size() + borrowed().size() tensors; gradients of borrowed weights go to the lender.
  struct Borrowed {
    int unit;
    int weight;
  };
  const std::vector<Borrowed>& borrowed() const { return borrowed_; }

  /// Gives the unit its gathered weights in the compute dtype, tp-local shapes. Valid until unbind().
  virtual void bind(std::vector<at::Tensor> weights) { weights_ = std::move(weights); }
  virtual void unbind() { weights_.clear(); }
  /// Before bind(), of weights that come in float8 (ParamSpec::float8_gather): what multiplies their values,
  /// float32 [1, 1], by weight and undefined for others; empty where none does.
  void set_scales(std::vector<at::Tensor> scales) { scales_ = std::move(scales); }
  /// The bound weights may have changed: what was derived from them is no longer used.
  virtual void forget_derived() {}

  /// True when ranks that are given different micro-batches meet in this unit: it is run for micro-batches
  /// without tokens too.
  virtual bool meets_peers() const { return false; }

  /// The first unit ignores `input` and reads batch tokens. [rows, H] in and
  /// out; rows are the T tokens, or this rank's of them under sequence parallelism (nn/tensor_region.h).
  virtual at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                             Recompute recompute) = 0;
  /// forward() again for the backward that follows: fills `saved` in a mode of its own choice, and may leave
  /// out what only the output needs.
  virtual void refill(const at::Tensor& input, const Microbatch& mb, Saved& saved) {
    forward(input, mb, saved, Recompute::none);
  }
  /// Consumes `saved`. Returns the gradient of the input (undefined for the first unit).
  virtual at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                              WeightGrads& grads) = 0;

 protected:
  std::string name_;
  std::vector<ParamSpec> params_;
  std::vector<Borrowed> borrowed_;
  std::vector<at::Tensor> weights_;
  std::vector<at::Tensor> scales_;  // of set_scales
};

/// The last unit: final norm, output projection and cross-entropy in one, in chunks of tokens, so that no
/// more than one chunk of logits exists.
class HeadUnit : public Unit {
 public:
  using Unit::Unit;

  struct LossResult {
    /// float64 [1] where the input is: the sum of token losses over this micro-batch's labelled tokens,
    /// unscaled.
    at::Tensor loss_sum;
    at::Tensor grad_input;  ///< [T, H]; undefined when no gradient was asked for
  };
  /// Forward and, when `grads` is given, backward with mb.loss_scale. Consumes nothing and saves nothing.
  virtual LossResult loss(const at::Tensor& input, const Microbatch& mb, WeightGrads* grads) = 0;
  /// Logits [rows, V] of the given tokens of the micro-batch, float32.
  virtual at::Tensor logits(const at::Tensor& input, const at::Tensor& rows) = 0;
};

}  // namespace tessera
