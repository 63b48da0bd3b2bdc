// Linear layers as blocks of a unit: one projection, or several side by side on one input (q, k, v; gate,
// up), which run as one GEMM when their weights lie side by side in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/float8.h"
#include "nn/unit.h"

namespace tessera {

/// What a linear layer is made from; `prefix` is its Hugging Face name without ".weight".
struct LinearSpec {
  std::string prefix;
  int64_t in = 0;
  int64_t out = 0;
  bool bias = false;
  double init_std = 0.02;
  /// Megatron's two styles: colwise cuts the outputs over tp (its input gradient is partial), rowwise cuts
  /// the inputs (its output is partial).
  enum class Style : int { colwise = 0, rowwise = 1, replicate = 2 };
  Style style = Style::colwise;
  int64_t parts = 0;  ///< of a colwise layer: Placement::parts
  /// Checkpoints that fuse projections: this layer is the rows `first` .. `first` + out of the `rows` rows of
  /// `prefix`.weight and of `prefix`.bias.
  struct Fused {
    std::string prefix;
    int64_t rows = 0;
    int64_t first = 0;
  };
  std::optional<Fused> fused;
};

/// Makes the layers, one behind the other, the rows of one projection of the checkpoint.
void fuse_in_checkpoint(std::vector<LinearSpec>& layers, const std::string& prefix);

/// The gradient of a linear layer's output, for the two products that it is in.
struct LinearGrad {
  LinearGrad(at::Tensor gradient) : dy(std::move(gradient)) {}  // NOLINT(google-explicit-constructor)

  at::Tensor dy;                                 ///< [T, out]
  std::shared_ptr<kernels::Float8Casts> float8;  ///< of layers in float8, by Linear::received
};

/// y [T, out] = x [T, in] Wᵀ + b. Holds indices into its unit's weights; tensors only of a weight in float8,
/// which it casts when it is first used and keeps until forget().
class Linear {
 public:
  /// Appends its parameters to `params`, which are its unit's.
  Linear(const LinearSpec& spec, std::vector<ParamSpec>& params);

  /// `with_bias` false leaves the bias out: of partial sums only one may have it.
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                     bool with_bias = true) const;
  /// dy, to be given to grad_input and then to grad_weights: in float8 it is cast for both at once.
  LinearGrad received(const at::Tensor& dy) const;
  at::Tensor grad_input(const std::vector<at::Tensor>& weights, const LinearGrad& dy) const;
  void grad_weights(const at::Tensor& x, const LinearGrad& dy, WeightGrads& grads) const;

  /// From now on the products are formed in float8. Before bind of the group that it is in.
  void use_float8(kernels::Float8Recipe recipe);
  bool in_float8() const { return float8_ != kernels::Float8Recipe::none; }
  /// The weight comes in float8 from now on, until unbind(); its tensor in `weights` is not looked at.
  void bind(kernels::Float8Matrix weight);
  void unbind();
  /// The weight may have changed.
  void forget() const;

  /// An input for several layers of one recipe; null for those in the compute dtype.
  std::shared_ptr<kernels::Float8Casts> shared_input(const at::Tensor& x) const;
  /// forward() and grad_weights() with such an input.
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                     kernels::Float8Casts& cast_x, bool with_bias = true) const;
  void grad_weights(const at::Tensor& x, const std::shared_ptr<kernels::Float8Casts>& cast_x,
                    const LinearGrad& dy, WeightGrads& grads) const;

  int weight() const { return weight_; }
  int bias() const { return bias_; }
  /// Sets the indices when parameters were put in another order than the constructor's.
  void place(int weight, int bias) { weight_ = weight, bias_ = bias; }

 private:
  kernels::Float8Rule rule(kernels::Float8Role role) const { return kernels::float8_rule(float8_, role); }
  kernels::Float8Casts& cast_weight(const std::vector<at::Tensor>& weights) const;

  int weight_;
  int bias_ = -1;
  kernels::Float8Recipe float8_ = kernels::Float8Recipe::none;
  // In float8:
  kernels::Float8Matrix bound_;                        // the weight, where it comes so
  std::unique_ptr<kernels::Float8Casts> cast_weight_;  // undefined until used
};

/// LinearGrad of the layers of a group.
struct LinearGroupGrad {
  LinearGroupGrad(std::vector<at::Tensor> gradients)  // NOLINT(google-explicit-constructor)
      : dy(std::move(gradients)) {}

  std::vector<at::Tensor> dy;
  std::vector<LinearGrad> received;  ///< where a layer is in float8; otherwise empty
};

/// Several linear layers with the same input. Outputs and output gradients are lists with one [T, out_i]
/// tensor a layer; when the weights lie side by side they are column slices of one [T, sum(out)] buffer.
class LinearGroup {
 public:
  LinearGroup(const std::vector<LinearSpec>& specs, std::vector<ParamSpec>& params);

  /// Learns the widths, which under tensor parallelism are this rank's, and whether `weights` can be read as
  /// one matrix. Called when weights are bound.
  void bind(const std::vector<at::Tensor>& weights);
  void unbind();
  std::vector<Linear>& layers() { return layers_; }
  const std::vector<Linear>& layers() const { return layers_; }
  bool merged() const { return merged_weight_.defined(); }
  const at::Tensor& merged_weight() const { return merged_weight_; }

  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& weights, const at::Tensor& x) const;
  /// Output gradients of the right shapes, not filled, laid out so that grad_input is one GEMM when it can
  /// be.
  std::vector<at::Tensor> empty_grads(const at::Tensor& like) const;
  /// Whether tensors of the outputs' shapes are laid out as those of empty_grads(), and so can take their
  /// place.
  bool fits(const std::vector<at::Tensor>& parts) const;
  /// The filled result of empty_grads(), to be given to grad_input and then to grad_weights.
  LinearGroupGrad received(std::vector<at::Tensor> dy) const;
  /// dx [T, in]
  at::Tensor grad_input(const std::vector<at::Tensor>& weights, const LinearGroupGrad& dy) const;
  void grad_weights(const at::Tensor& x, const LinearGroupGrad& dy, WeightGrads& grads) const;

 private:
  std::vector<at::Tensor> split(const at::Tensor& fused) const;
  bool any_float8() const;

  std::vector<Linear> layers_;
  std::vector<int64_t> outs_;  // of the bound weights
  int64_t total_out_ = 0;
  at::Tensor merged_weight_;  // [sum(out), in], a view over the layers' weights
  at::Tensor merged_bias_;    // [sum(out)]
};

/// The layers of a group and others, for those who go over all of a block.
inline std::vector<Linear*> addresses(std::vector<Linear>& group, std::vector<Linear*> others) {
  for (Linear& layer : group) others.push_back(&layer);
  return others;
}

}  // namespace tessera
