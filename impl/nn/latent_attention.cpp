// Multi-head latent attention. With r the rows of this rank (all tokens, or its own under sequence
// parallelism) and h its heads:
//
//     x [r, H] --down--> q_a [r, q_rank] --norm--> enter --q_up--> q [T, h, plain + rope]
//              \-------> kv_a [r, kv_rank + rope]
//                          kv_rank --norm--> enter --kv_up--> kv [T, h, plain + value]
//                          rope ------------> enter --rotate--> k_rope [T, 1, rope]
//
// A key is its head's plain part of kv, then k_rope. The border of the tensor-parallel region lies behind the
// latents: what is left of it is computed like a layer norm, on every rank alike or on the rank's own rows.
#include "nn/latent_attention.h"

#include <ATen/ops/empty.h>

#include "context/attend.h"
#include "core/error.h"

namespace tessera {

namespace {

using Style = LinearSpec::Style;

std::vector<LinearSpec> down_specs(const std::string& prefix, const LatentAttentionSpec& spec) {
  const auto latent = [&](const char* name, int64_t size) {
    LinearSpec layer{prefix + name, spec.hidden, size, spec.bias, spec.init_std};
    layer.style = Style::replicate;
    return layer;
  };
  std::vector<LinearSpec> specs;
  if (spec.q_rank > 0) specs.push_back(latent(".q_a_proj", spec.q_rank));
  specs.push_back(latent(".kv_a_proj_with_mqa", spec.kv_rank + spec.rope_dim));
  return specs;
}

/// Marks parameters whose gradients are sums over the tp ranks' rows.
LinearGroup make_down(const std::string& prefix, const LatentAttentionSpec& spec,
                      std::vector<ParamSpec>& params) {
  const size_t first = params.size();
  LinearGroup group(down_specs(prefix, spec), params);
  for (size_t i = first; i < params.size(); ++i) params[i].tp_partial = spec.region.sequence_parallel();
  return group;
}

std::optional<RmsNorm> make_q_norm(const std::string& prefix, const LatentAttentionSpec& spec,
                                   std::vector<ParamSpec>& params) {
  if (spec.q_rank == 0) return {};
  return RmsNorm(prefix + ".q_a_layernorm", spec.q_rank, spec.norm_eps, params,
                 spec.region.sequence_parallel());
}

LinearSpec up_spec(const std::string& name, int64_t in, int64_t head_size, const LatentAttentionSpec& spec) {
  LinearSpec layer{name, in, spec.heads * head_size, false, spec.init_std};
  layer.style = spec.region.split() ? Style::colwise : Style::replicate;
  return layer;
}

LinearSpec q_up_spec(const std::string& prefix, const LatentAttentionSpec& spec) {
  return spec.q_rank > 0 ? up_spec(prefix + ".q_b_proj", spec.q_rank, spec.query_dim(), spec)
                         : up_spec(prefix + ".q_proj", spec.hidden, spec.query_dim(), spec);
}

LinearSpec out_spec(const std::string& prefix, const LatentAttentionSpec& spec) {
  LinearSpec layer{prefix + ".o_proj", spec.heads * spec.value_dim, spec.hidden, spec.bias, spec.init_std};
  layer.style = spec.region.split() ? Style::rowwise : Style::replicate;
  return layer;
}

bool keeps_arguments(const Microbatch& mb) {
  return !mb.context || mb.context->keeps_arguments();
}

kernels::AttentionOptions options_of(const LatentAttentionSpec& spec) {
  kernels::AttentionOptions options;
  options.scale = spec.scale;
  return options;
}

/// The last `count` elements of each head.
at::Tensor tail(const at::Tensor& heads, int64_t count) {
  return heads.narrow(2, heads.size(2) - count, count);
}

at::Tensor flat(const at::Tensor& heads) {
  return heads.view({heads.size(0), -1});
}

}  // namespace

LatentAttention::LatentAttention(const std::string& prefix, const LatentAttentionSpec& spec,
                                 RopeCachePtr rope, std::vector<ParamSpec>& params)
    : spec_(spec),
      rope_(std::move(rope)),
      down_(make_down(prefix, spec, params)),
      q_norm_(make_q_norm(prefix, spec, params)),
      kv_norm_(prefix + ".kv_a_layernorm", spec.kv_rank, spec.norm_eps, params,
               spec.region.sequence_parallel()),
      q_up_(q_up_spec(prefix, spec), params),
      kv_up_(up_spec(prefix + ".kv_b_proj", spec.kv_rank, spec.plain_dim + spec.value_dim, spec), params),
      out_(out_spec(prefix, spec), params) {
  TESSERA_CHECK(!spec.region.split() || spec.heads % spec.region.size() == 0, argument,
                "tp=", spec.region.size(), " does not divide num_attention_heads=", spec.heads);
}

LatentAttention::Latents LatentAttention::normed(const std::vector<at::Tensor>& weights,
                                                 const std::vector<at::Tensor>& down) const {
  Latents latents;
  if (q_norm_) latents.q = q_norm_->forward(weights, down[0]);
  latents.kv = kv_norm_.forward(weights, down.back().narrow(1, 0, spec_.kv_rank));
  return latents;
}

at::Tensor LatentAttention::keys(const Projected& projected) const {
  const at::Tensor& kv = projected.kv;
  const at::Tensor k = at::empty({kv.size(0), kv.size(1), spec_.query_dim()}, kv.options());
  k.narrow(2, 0, spec_.plain_dim).copy_(kv.narrow(2, 0, spec_.plain_dim));
  tail(k, spec_.rope_dim).copy_(projected.k_rope);
  return k;
}

at::Tensor LatentAttention::values(const Projected& projected) const {
  return tail(projected.kv, spec_.value_dim);
}

at::Tensor LatentAttention::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                                    const Microbatch& mb, Saved& saved, Recompute recompute) const {
  const int64_t tokens = mb.batch->tokens_count();
  const TensorRegion& region = spec_.region;
  const std::vector<at::Tensor> down = down_.forward(weights, x);
  const Latents latents = normed(weights, down);
  PendingTensor q_latent = region.start_enter(q_norm_ ? latents.q.y : x, tokens);
  PendingTensor kv_latent = region.start_enter(latents.kv.y, tokens);
  PendingTensor k_rope = region.start_enter(down.back().narrow(1, spec_.kv_rank, spec_.rope_dim), tokens);

  Projected projected;
  projected.q = q_up_.forward(weights, q_latent.wait()).view({tokens, -1, spec_.query_dim()});
  projected.kv =
      kv_up_.forward(weights, kv_latent.wait()).view({tokens, -1, spec_.plain_dim + spec_.value_dim});
  const at::Tensor unrotated = k_rope.wait().unsqueeze(1);
  projected.k_rope = at::empty({tokens, 1, spec_.rope_dim}, unrotated.options());
  const auto [table, rows] = rope_->rows(*mb.batch);
  const at::Tensor q_rope = tail(projected.q, spec_.rope_dim);
  kernels::rope(q_rope, q_rope, table, rows);
  kernels::rope(unrotated, projected.k_rope, table, rows);

  const Attended attended =
      attend(projected.q, keys(projected), values(projected), *mb.batch, mb.context, options_of(spec_));

  for (const at::Tensor& t : down) saved.push(t);
  if (recompute == Recompute::none) {
    for (const kernels::RmsNormResult* norm : {&latents.q, &latents.kv}) {
      if (!norm->y.defined()) continue;
      saved.push(norm->y);
      saved.push(norm->rstd);
    }
  }
  saved.push(attended.kept.out);
  saved.push(attended.kept.lse);
  if (keeps_arguments(mb)) {
    saved.push(projected.q);
    saved.push(projected.kv);
    saved.push(projected.k_rope);
    if (recompute == Recompute::none) saved.push(attended.kept.k);
  } else {
    saved.push(attended.kept.q);
    saved.push(attended.kept.k);
    saved.push(attended.kept.v);
    saved.push(attended.out);
  }
  return region.leave(out_.forward(weights, flat(attended.out), region.carries_bias()));
}

at::Tensor LatentAttention::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy,
                                     const at::Tensor& x, const Microbatch& mb, Saved& saved,
                                     WeightGrads& grads) const {
  const int64_t tokens = mb.batch->tokens_count();
  const TensorRegion& region = spec_.region;
  PendingTensor inside_dy = region.start_leave_backward(dy, tokens);
  AttendKept kept;
  at::Tensor out;
  if (keeps_arguments(mb)) {
    if (saved.recompute() == Recompute::none) kept.k = saved.pop();
    Projected projected;
    projected.k_rope = saved.pop();
    projected.kv = saved.pop();
    projected.q = saved.pop();
    kept.q = projected.q;
    if (!kept.k.defined()) kept.k = keys(projected);
    kept.v = values(projected);
  } else {
    out = saved.pop();
    kept.v = saved.pop();
    kept.k = saved.pop();
    kept.q = saved.pop();
  }
  kept.lse = saved.pop();
  kept.out = saved.pop();
  if (!out.defined()) out = kept.out;
  Latents latents;
  if (saved.recompute() == Recompute::none) {
    latents.kv.rstd = saved.pop();
    latents.kv.y = saved.pop();
    if (q_norm_) {
      latents.q.rstd = saved.pop();
      latents.q.y = saved.pop();
    }
  }
  std::vector<at::Tensor> down(q_norm_ ? 2 : 1);
  for (auto t = down.rbegin(); t != down.rend(); ++t) *t = saved.pop();
  if (!latents.kv.y.defined()) latents = normed(weights, down);
  PendingTensor q_latent = region.start_enter(q_norm_ ? latents.q.y : x, tokens);
  PendingTensor kv_latent = region.start_enter(latents.kv.y, tokens);

  const LinearGrad doutput = out_.received(inside_dy.wait());
  const at::Tensor dout = out_.grad_input(weights, doutput).view({tokens, -1, spec_.value_dim});
  out_.grad_weights(flat(out), doutput, grads);
  const kernels::AttentionGrads inner = attend_backward(dout, kept, *mb.batch, mb.context, options_of(spec_));

  const ProjectedGrads projected = projected_grads(inner, mb);
  const LinearGrad dq = q_up_.received(projected.q), dkv = kv_up_.received(projected.kv);
  // The latents' gradients are summed over the ranks while the weight gradients are formed.
  PendingTensor dq_latent = region.start_enter_backward(q_up_.grad_input(weights, dq));
  PendingTensor dkv_latent = region.start_enter_backward(kv_up_.grad_input(weights, dkv));
  PendingTensor dk_rope = region.start_enter_backward(projected.k_rope);
  q_up_.grad_weights(q_latent.wait(), dq, grads);
  kv_up_.grad_weights(kv_latent.wait(), dkv, grads);

  const std::vector<at::Tensor> ddown = down_.empty_grads(x);
  const at::Tensor kv_down = down.back().narrow(1, 0, spec_.kv_rank);
  const at::Tensor dq_sum = dq_latent.wait();
  if (q_norm_) ddown[0].copy_(q_norm_->backward(weights, dq_sum, down[0], latents.q.rstd, {}, grads));
  ddown.back()
      .narrow(1, 0, spec_.kv_rank)
      .copy_(kv_norm_.backward(weights, dkv_latent.wait(), kv_down, latents.kv.rstd, {}, grads));
  ddown.back().narrow(1, spec_.kv_rank, spec_.rope_dim).copy_(dk_rope.wait());
  const LinearGroupGrad received = down_.received(ddown);
  at::Tensor dx = down_.grad_input(weights, received);
  if (!q_norm_) dx.add_(dq_sum);
  down_.grad_weights(x, received, grads);
  return dx;
}

/// From gradients of queries, keys and values to those of what was projected.
LatentAttention::ProjectedGrads LatentAttention::projected_grads(const kernels::AttentionGrads& inner,
                                                                 const Microbatch& mb) const {
  const int64_t tokens = inner.dq.size(0), heads = inner.dq.size(1);
  const auto [table, rows] = rope_->rows(*mb.batch);
  const at::Tensor dq_rope = tail(inner.dq, spec_.rope_dim);
  kernels::rope(dq_rope, dq_rope, table, rows, /*inverse=*/true);
  const at::Tensor dkv = at::empty({tokens, heads, spec_.plain_dim + spec_.value_dim}, inner.dk.options());
  dkv.narrow(2, 0, spec_.plain_dim).copy_(inner.dk.narrow(2, 0, spec_.plain_dim));
  tail(dkv, spec_.value_dim).copy_(inner.dv);
  // All heads of this rank share the key's rotated part.
  const at::Tensor dk_rope =
      tail(inner.dk, spec_.rope_dim).sum(1, /*keepdim=*/true, at::kFloat).to(inner.dk.scalar_type());
  kernels::rope(dk_rope, dk_rope, table, rows, /*inverse=*/true);
  return {flat(inner.dq), flat(dkv), flat(dk_rope)};
}

}  // namespace tessera
