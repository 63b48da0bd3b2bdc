// What follows attention in a decoder layer: an MLP, or a mixture of experts in its place.
#pragma once

#include <vector>

#include "nn/linear.h"
#include "nn/unit.h"

namespace tessera {

class FeedForward {
 public:
  virtual ~FeedForward() = default;

  virtual void bind(const std::vector<at::Tensor>& weights) = 0;
  virtual void unbind() = 0;

  /// x [rows, H] -> [rows, H]. Pushes what backward needs, except x.
  virtual at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                             const Microbatch& mb, Saved& saved, Recompute recompute) const = 0;
  /// Pushes what forward() does with Recompute::selective; what only the output needs may be left out.
  virtual void refill(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                      Saved& saved) const {
    forward(weights, x, mb, saved, Recompute::selective);
  }
  /// dx for dy; x is the forward's.
  virtual at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy,
                              const at::Tensor& x, const Microbatch& mb, Saved& saved,
                              WeightGrads& grads) const = 0;

  /// The linear layers that may be computed in float8.
  virtual std::vector<Linear*> linears() = 0;
};

}  // namespace tessera
