// A pre-norm decoder layer: h = x + attention(norm(x)); y = h + mlp(norm(h)).
#pragma once

#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/unit.h"

namespace tessera {

struct DecoderLayerSpec {
  AttentionSpec attention;
  MlpSpec mlp;
  double norm_eps = 1e-6;
  bool sequence_parallel = false;  ///< the norms see this rank's rows only
};

class DecoderLayer : public Unit {
 public:
  /// Parameters are named `prefix`.self_attn.q_proj.weight and so on; `prefix` is model.layers.N.
  DecoderLayer(const std::string& prefix, const DecoderLayerSpec& spec, RopeCachePtr rope);

  void bind(std::vector<at::Tensor> weights) override;
  void unbind() override;
  at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                     Recompute recompute) override;
  at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                      WeightGrads& grads) override;

 private:
  at::Tensor backward_kept(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                           WeightGrads& grads);

  Attention attention_;
  Mlp mlp_;
  RmsNorm attention_norm_;
  RmsNorm mlp_norm_;
};

}  // namespace tessera
