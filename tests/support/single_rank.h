// A model on one rank without mesh, sharding or optimizer: weights, units, and gradients in float32. What
// tests of blocks and parity drive.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_batch.h"
#include "models/model.h"

namespace tessera::testing {

/// Collects the weight gradients of one unit in float32, overwriting on the first contribution of a round.
class GradSink : public WeightGrads {
 public:
  /// `targets[i]` receives the gradient of weight i; targets of a lender and its borrower are one object.
  struct Target {
    at::Tensor grad;
    bool started = false;
  };
  explicit GradSink(std::vector<Target*> targets) : targets_(std::move(targets)) {}
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override;
  void add(int weight, const at::Tensor& grad) override;
  void add_rows(int weight, const at::Tensor& rows, const at::Tensor& dy) override;

 private:
  std::vector<Target*> targets_;
};

class SingleRankModel {
 public:
  /// Weights are seeded normals of a scale that exercises every path (norm weights around 1, biases not
  /// zero). `flat`: a unit's weights are views of one buffer, as under FSDP, so that merged GEMMs are taken.
  SingleRankModel(const ModelConfig& config, at::ScalarType dtype, bool flat, int seed = 1);

  std::vector<std::string> names() const;
  /// The weight that computes; written through by tests.
  at::Tensor weight(const std::string& name) const;
  /// Float32 gradient of the last forward_backward.
  at::Tensor grad(const std::string& name) const;

  double loss(const PackedBatch& batch);
  /// Loss sum; gradients are those of loss_scale * loss sum.
  double forward_backward(const PackedBatch& batch, double loss_scale, Recompute recompute = Recompute::none,
                          int64_t loss_chunk = 0);
  /// Adds a further micro-batch to the gradients.
  double accumulate(const PackedBatch& batch, double loss_scale, Recompute recompute = Recompute::none,
                    int64_t loss_chunk = 0);
  /// [T, V] float32.
  at::Tensor logits(const PackedBatch& batch);
  /// Bytes that the forward of the last forward_backward kept for its backward.
  int64_t saved_bytes() const { return saved_bytes_; }

 private:
  at::Tensor hidden(const PackedBatch& batch, const Microbatch& mb, std::vector<Saved>& saved,
                    Recompute recompute);
  GradSink sink(size_t unit);

  std::vector<std::unique_ptr<Unit>> units_;
  std::vector<std::vector<at::Tensor>> weights_;        // per unit
  std::vector<std::vector<GradSink::Target>> targets_;  // per unit
  std::map<std::string, std::pair<size_t, size_t>> index_;
  int64_t saved_bytes_ = 0;
};

/// Documents of the given lengths with seeded tokens. Labels are the next tokens; each label is ignored with
/// probability `ignored`. `multiple` > 1 gives each document alignment padding.
PackedBatch random_batch(const std::vector<int64_t>& lengths, int64_t vocab, int seed, double ignored = 0.0,
                         int64_t multiple = 1);

/// ||a - b|| / ||b|| in double; a norm of b below `floor` counts as `floor`.
double relative_error(const at::Tensor& a, const at::Tensor& b, double floor = 1e-12);

}  // namespace tessera::testing
