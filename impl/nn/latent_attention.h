// Multi-head latent attention (DeepSeek-V2, 2024): queries, keys and values are made from two narrow latents
// per token, and positions enter through a few extra elements of each head, whose key part all heads share.
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

struct LatentAttentionSpec {
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t q_rank = 0;     ///< size of the queries' latent; 0: queries are made from the hidden state
  int64_t kv_rank = 0;    ///< size of the latent of keys and values
  int64_t plain_dim = 0;  ///< elements of a query or key without positions (qk_nope_head_dim)
  int64_t rope_dim = 0;   ///< those with, behind them
  int64_t value_dim = 0;
  bool bias = false;       ///< of the projections to the latents, and of o_proj
  double norm_eps = 1e-6;  ///< of the latents' norms
  double scale = 0;        ///< of the scores; 0 is 1/sqrt(plain_dim + rope_dim)
  double init_std = 0.02;
  TensorRegion region;  ///< heads are cut over it

  int64_t query_dim() const { return plain_dim + rope_dim; }
};

/// Under tensor parallelism heads are cut, latents are not: every rank projects to the whole latents, under
/// sequence parallelism those of its own tokens, which are then gathered in place of the wider hidden state.
class LatentAttention final : public AttentionBlock {
 public:
  /// Appends its parameters to `params`: `prefix`.q_a_proj, q_a_layernorm and q_b_proj (or q_proj),
  /// kv_a_proj_with_mqa, kv_a_layernorm, kv_b_proj and o_proj. `rope` is for rope_dim elements.
  LatentAttention(const std::string& prefix, const LatentAttentionSpec& spec, RopeCachePtr rope,
                  std::vector<ParamSpec>& params);

  void bind(const std::vector<at::Tensor>& weights) override { down_.bind(weights); }
  void unbind() override { down_.unbind(); }
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                     Saved& saved, Recompute recompute) const override;
  at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                      const Microbatch& mb, Saved& saved, WeightGrads& grads) const override;
  std::vector<Linear*> linears() override { return addresses(down_.layers(), {&q_up_, &kv_up_, &out_}); }

 private:
  /// The latents of this rank's rows after their norms.
  struct Latents {
    kernels::RmsNormResult q, kv;  // q only with q_rank
  };
  Latents normed(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& down) const;
  /// What the latents become inside the region, in front of attention.
  struct Projected {
    at::Tensor q;       // [T, heads, query_dim], rotated
    at::Tensor kv;      // [T, heads, plain_dim + value_dim]
    at::Tensor k_rope;  // [T, 1, rope_dim], rotated
  };
  at::Tensor keys(const Projected& projected) const;
  at::Tensor values(const Projected& projected) const;
  /// Gradients of Projected, as rows.
  struct ProjectedGrads {
    at::Tensor q, kv, k_rope;
  };
  ProjectedGrads projected_grads(const kernels::AttentionGrads& inner, const Microbatch& mb) const;

  LatentAttentionSpec spec_;  // heads of the whole model
  RopeCachePtr rope_;
  LinearGroup down_;  // to the latents, q's first
  std::optional<RmsNorm> q_norm_;
  RmsNorm kv_norm_;
  Linear q_up_;  // q_b_proj or q_proj
  Linear kv_up_;
  Linear out_;
};

}  // namespace tessera
