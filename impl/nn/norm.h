// RMSNorm as a block of a unit.
#pragma once

#include <string>
#include <vector>

#include "kernels/norm.h"
#include "nn/unit.h"

namespace tessera {

/// y = x / sqrt(mean(x^2) + eps) * w over the last dimension, or * (1 + w) in Gemma's models. Holds an index
/// into its unit's weights, never a tensor.
class RmsNorm {
 public:
  /// Appends its weight, named `prefix`.weight, to `params`, which are its unit's. `partial`: the ranks of
  /// the tp axis see different rows (sequence parallelism, or heads that are split).
  RmsNorm(const std::string& prefix, int64_t width, double eps, std::vector<ParamSpec>& params,
          bool partial = false, kernels::NormGain gain = kernels::NormGain::weight);

  kernels::RmsNormResult forward(const std::vector<at::Tensor>& weights, const at::Tensor& x) const;
  /// The norm of x + residual, and the sum.
  kernels::AddRmsNormResult forward_add(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                                        const at::Tensor& residual) const;
  /// dx, with `dresidual` added when it is defined. `x` is what was normalised.
  at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                      const at::Tensor& rstd, const at::Tensor& dresidual, WeightGrads& grads) const;

 private:
  int weight_;
  double eps_;
  kernels::NormGain gain_;
};

}  // namespace tessera
