// A pre-norm decoder layer: h = x + attention(norm(x)); y = h + mlp(norm(h)), the MLP or a mixture of
// experts. With sandwich norms (Gemma 2) each block's output is normalised too: h = x +
// norm(attention(norm(x))); y = h + norm(mlp(norm(h))).
#pragma once

#include <memory>
#include <optional>

#include "nn/attention.h"
#include "nn/latent_attention.h"
#include "nn/mlp.h"
#include "nn/moe.h"
#include "nn/norm.h"
#include "nn/unit.h"

namespace tessera {

struct DecoderLayerSpec {
  AttentionSpec attention;
  std::optional<LatentAttentionSpec> latent;  ///< in place of `attention`, of which only `hidden` counts
  MlpSpec mlp;
  std::optional<MoeSpec> moe;  ///< in place of the MLP
  std::string feed_forward_name = "mlp";
  double norm_eps = 1e-6;
  kernels::NormGain norm_gain = kernels::NormGain::weight;
  bool sandwich_norms = false;
  bool sequence_parallel = false;  ///< the norms see this rank's rows only
};

class DecoderLayer : public Unit {
 public:
  /// Parameters are named `prefix`.self_attn.q_proj.weight and so on; `prefix` is model.layers.N. Norms are
  /// input_layernorm and post_attention_layernorm (in front of the MLP); or as sandwich, in the order of use,
  /// input_, post_attention_, pre_feedforward_ and post_feedforward_layernorm.
  DecoderLayer(const std::string& prefix, const DecoderLayerSpec& spec, RopeCachePtr rope,
               const ParallelContext& parallel);

  void bind(std::vector<at::Tensor> weights) override;
  void unbind() override;
  void forget_derived() override;
  bool meets_peers() const override { return meets_peers_; }
  /// Computes those linear layers in float8 whose names contain none of `skipped` and whose tp parts' sizes
  /// are multiples of 16; returns how many. Before bind. With a scale a tensor they can take their weights in
  /// float8 (ParamSpec::float8_gather).
  int use_float8(kernels::Float8Recipe recipe, const std::vector<std::string>& skipped, int64_t tp_size);
  /// The mixture of experts, or null.
  Moe* moe() { return dynamic_cast<Moe*>(feed_forward_.get()); }
  /// Without tokens only experts are run, for those that peers send.
  at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                     Recompute recompute) override;
  void refill(const at::Tensor& input, const Microbatch& mb, Saved& saved) override;
  at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                      WeightGrads& grads) override;

 private:
  std::vector<Linear*> linears();
  /// The forward, or with `refills` as much of it as fills `saved`: then the result is undefined.
  at::Tensor run(const at::Tensor& input, const Microbatch& mb, Saved& saved, Recompute recompute,
                 bool refills);
  at::Tensor backward_kept(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                           WeightGrads& grads);

  std::unique_ptr<AttentionBlock> attention_;
  std::unique_ptr<FeedForward> feed_forward_;
  RmsNorm attention_norm_;
  RmsNorm mlp_norm_;
  std::optional<RmsNorm> attention_out_norm_, mlp_out_norm_;  // of sandwich norms
  bool meets_peers_ = false;
};

}  // namespace tessera
