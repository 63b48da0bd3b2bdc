// The gated MLP of Llama-style models: down(act(gate(x)) * up(x)) with SiLU (SwiGLU) or GELU (GEGLU; Shazeer,
// 2020).
#pragma once

#include <string>
#include <vector>

#include "kernels/activation.h"
#include "nn/feed_forward.h"
#include "nn/linear.h"
#include "nn/tensor_region.h"
#include "nn/unit.h"

namespace tessera {

struct MlpSpec {
  int64_t hidden = 0;
  int64_t intermediate = 0;
  bool bias = false;
  double init_std = 0.02;
  TensorRegion region;
  Activation activation = Activation::silu;
  /// The checkpoint's one projection for gate and up, one behind the other ("gate_up_proj"); empty: they are
  /// apart.
  std::string fused;
};

class Mlp : public FeedForward {
 public:
  /// Appends its parameters, named `prefix`.gate_proj.weight and so on, to `params`.
  Mlp(const std::string& prefix, const MlpSpec& spec, std::vector<ParamSpec>& params);

  void bind(const std::vector<at::Tensor>& weights) override { gate_up_.bind(weights); }
  void unbind() override { gate_up_.unbind(); }

  /// x [T, H] -> [T, H]. Pushes what backward needs, except x.
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                     Saved& saved, Recompute recompute) const override;
  void refill(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
              Saved& saved) const override;
  /// dx for dy [T, H]; x is the forward's.
  at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                      const Microbatch& mb, Saved& saved, WeightGrads& grads) const override;
  std::vector<Linear*> linears() override { return addresses(gate_up_.layers(), {&down_}); }

 private:
  TensorRegion region_;
  Activation activation_;
  LinearGroup gate_up_;
  Linear down_;
};

}  // namespace tessera
