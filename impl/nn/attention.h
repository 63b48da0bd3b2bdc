// Causal self-attention over packed documents: grouped key/value heads, rotary positions, optional biases,
// optional RMSNorm over the heads of q and k, optional sliding window.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nn/attention_block.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"
#include "nn/tensor_region.h"
#include "nn/unit.h"

namespace tessera {

struct AttentionSpec {
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;  ///< 0 is full attention
  bool qkv_bias = false;
  bool out_bias = false;
  bool qk_norm = false;
  double norm_eps = 1e-6;
  double init_std = 0.02;
  TensorRegion region;  ///< heads are cut over it
  double scale = 0;     ///< of the scores; 0 is 1/sqrt(head_dim)
  double soft_cap = 0;  ///< of the scores (Gemma 2); 0 is none
  kernels::NormGain norm_gain = kernels::NormGain::weight;
  /// The checkpoint's one projection for q, k and v, one behind the other ("qkv_proj"); empty: they are
  /// apart.
  std::string fused;
  bool sinks = false;  ///< a learned score per head without a key (gpt-oss)
};

class Attention final : public AttentionBlock {
 public:
  /// Appends its parameters, named `prefix`.q_proj.weight and so on, to `params`.
  Attention(const std::string& prefix, const AttentionSpec& spec, RopeCachePtr rope,
            std::vector<ParamSpec>& params);

  void bind(const std::vector<at::Tensor>& weights) override { qkv_.bind(weights); }
  void unbind() override { qkv_.unbind(); }
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                     Saved& saved, Recompute recompute) const override;
  at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                      const Microbatch& mb, Saved& saved, WeightGrads& grads) const override;
  std::vector<Linear*> linears() override { return addresses(qkv_.layers(), {&out_}); }

 private:
  /// q and k [T, heads, d] after norm and rotation, with what the norms' backward needs.
  struct Rotated {
    at::Tensor q, k;
    at::Tensor q_rstd, k_rstd;  // with qk_norm only
  };
  Rotated norm_and_rotate(const std::vector<at::Tensor>& weights, const at::Tensor& q, const at::Tensor& k,
                          const Microbatch& mb) const;
  kernels::AttentionOptions options(const std::vector<at::Tensor>& weights) const;
  /// With norms the projections are kept, from which q and k can be made again.
  bool makes_rotated_again(const Microbatch& mb, Recompute recompute) const;

  AttentionSpec spec_;  // heads of the whole model
  RopeCachePtr rope_;
  LinearGroup qkv_;
  Linear out_;
  int sinks_ = -1;
  std::optional<RmsNorm> q_norm_, k_norm_;
};

}  // namespace tessera
