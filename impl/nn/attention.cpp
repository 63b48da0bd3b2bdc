// Causal self-attention over packed documents.
#include "nn/attention.h"

#include "context/attend.h"

namespace tessera {

namespace {

std::vector<LinearSpec> qkv_specs(const std::string& prefix, const AttentionSpec& spec) {
  const auto projection = [&](const char* name, int64_t heads) {
    LinearSpec layer{prefix + name, spec.hidden, heads * spec.head_dim, spec.qkv_bias, spec.init_std};
    layer.style = spec.region.split() ? LinearSpec::Style::colwise : LinearSpec::Style::replicate;
    // Fewer heads than ranks: neighbours hold the same one.
    if (spec.region.split() && heads < spec.region.size()) layer.parts = heads;
    return layer;
  };
  std::vector<LinearSpec> specs = {projection(".q_proj", spec.heads), projection(".k_proj", spec.kv_heads),
                                   projection(".v_proj", spec.kv_heads)};
  if (!spec.fused.empty()) fuse_in_checkpoint(specs, prefix + "." + spec.fused);
  return specs;
}

LinearSpec out_spec(const std::string& prefix, const AttentionSpec& spec) {
  return {
      prefix + ".o_proj", spec.heads * spec.head_dim,
      spec.hidden,        spec.out_bias,
      spec.init_std,      spec.region.split() ? LinearSpec::Style::rowwise : LinearSpec::Style::replicate};
}

ParamSpec sinks_param(const std::string& name, const AttentionSpec& spec) {
  ParamSpec param;
  param.name = name;
  param.shape = {spec.heads};
  param.init = {Init::Kind::normal, spec.init_std};
  param.decay = false;
  if (spec.region.split()) param.tp = Placement::shard(0);
  return param;
}

bool keeps_arguments(const Microbatch& mb) {
  return !mb.context || mb.context->keeps_arguments();
}

}  // namespace

Attention::Attention(const std::string& prefix, const AttentionSpec& spec, RopeCachePtr rope,
                     std::vector<ParamSpec>& params)
    : spec_(spec),
      rope_(std::move(rope)),
      qkv_(qkv_specs(prefix, spec), params),
      out_(out_spec(prefix, spec), params) {
  if (spec.sinks) {
    sinks_ = static_cast<int>(params.size());
    params.push_back(sinks_param(prefix + ".sinks", spec));
  }
  if (!spec.qk_norm) return;
  const bool partial = spec.region.split();
  q_norm_.emplace(prefix + ".q_norm", spec.head_dim, spec.norm_eps, params, partial, spec.norm_gain);
  k_norm_.emplace(prefix + ".k_norm", spec.head_dim, spec.norm_eps, params, partial, spec.norm_gain);
}

Attention::Rotated Attention::norm_and_rotate(const std::vector<at::Tensor>& weights, const at::Tensor& q,
                                              const at::Tensor& k, const Microbatch& mb) const {
  Rotated result{q, k, {}, {}};
  if (q_norm_) {
    const kernels::RmsNormResult q_result = q_norm_->forward(weights, q);
    const kernels::RmsNormResult k_result = k_norm_->forward(weights, k);
    result = {q_result.y, k_result.y, q_result.rstd, k_result.rstd};
  }
  // In place: without norms the projections themselves are not needed again.
  const auto [table, rows] = rope_->rows(*mb.batch);
  kernels::rope(result.q, result.q, table, rows);
  kernels::rope(result.k, result.k, table, rows);
  return result;
}

kernels::AttentionOptions Attention::options(const std::vector<at::Tensor>& weights) const {
  kernels::AttentionOptions options{
      .scale = spec_.scale, .window = spec_.window, .soft_cap = spec_.soft_cap, .sinks = {}};
  if (sinks_ >= 0) options.sinks = weights[sinks_];
  return options;
}

bool Attention::makes_rotated_again(const Microbatch& mb, Recompute recompute) const {
  return q_norm_ && recompute != Recompute::none && keeps_arguments(mb);
}

at::Tensor Attention::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                              const Microbatch& mb, Saved& saved, Recompute recompute) const {
  const int64_t tokens = mb.batch->tokens_count();
  const std::vector<at::Tensor> projected = qkv_.forward(weights, spec_.region.enter(x, tokens));
  const at::Tensor q = projected[0].view({tokens, -1, spec_.head_dim});
  const at::Tensor k = projected[1].view({tokens, -1, spec_.head_dim});
  const at::Tensor v = projected[2].view({tokens, -1, spec_.head_dim});
  const Rotated rotated = norm_and_rotate(weights, q, k, mb);

  const Attended attended = attend(rotated.q, rotated.k, v, *mb.batch, mb.context, options(weights));

  saved.push(attended.kept.v);
  saved.push(attended.kept.out);
  saved.push(attended.kept.lse);
  if (!keeps_arguments(mb)) saved.push(attended.out);
  if (q_norm_) {  // the projections; without norms they were rotated in place and are not needed
    saved.push(q);
    saved.push(k);
  }
  if (!makes_rotated_again(mb, recompute)) {
    saved.push(attended.kept.q);
    saved.push(attended.kept.k);
    if (q_norm_) {
      saved.push(rotated.q_rstd);
      saved.push(rotated.k_rstd);
    }
  }
  const at::Tensor partial =
      out_.forward(weights, attended.out.view({tokens, -1}), spec_.region.carries_bias());
  return spec_.region.leave(partial);
}

at::Tensor Attention::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy,
                               const at::Tensor& x, const Microbatch& mb, Saved& saved,
                               WeightGrads& grads) const {
  const int64_t tokens = mb.batch->tokens_count();
  PendingTensor inside_dy = spec_.region.start_leave_backward(dy, tokens);
  PendingTensor inside_x = spec_.region.start_enter(x, tokens);
  AttendKept kept;
  Rotated rotated;  // what the norms' backward needs
  const bool again = makes_rotated_again(mb, saved.recompute());
  if (!again) {
    if (q_norm_) {
      rotated.k_rstd = saved.pop();
      rotated.q_rstd = saved.pop();
    }
    kept.k = saved.pop();
    kept.q = saved.pop();
  }
  at::Tensor q, k;
  if (q_norm_) {
    k = saved.pop();
    q = saved.pop();
  }
  at::Tensor out;
  if (!keeps_arguments(mb)) out = saved.pop();
  kept.lse = saved.pop();
  kept.out = saved.pop();
  kept.v = saved.pop();
  if (!out.defined()) out = kept.out;
  if (again) {
    rotated = norm_and_rotate(weights, q, k, mb);
    kept.q = rotated.q;
    kept.k = rotated.k;
  }

  const at::Tensor out_rows = out.view({tokens, -1});
  const LinearGrad doutput = out_.received(inside_dy.wait());
  const at::Tensor dout = out_.grad_input(weights, doutput).view({tokens, -1, spec_.head_dim});
  out_.grad_weights(out_rows, doutput, grads);
  const kernels::AttentionGrads inner = attend_backward(dout, kept, *mb.batch, mb.context, options(weights));
  if (sinks_ >= 0) grads.add(sinks_, inner.dsinks);

  const std::vector<at::Tensor> dprojected = qkv_.empty_grads(doutput.dy);
  const at::Tensor dq = dprojected[0].view({tokens, -1, spec_.head_dim});
  const at::Tensor dk = dprojected[1].view({tokens, -1, spec_.head_dim});
  const auto [table, positions] = rope_->rows(*mb.batch);
  if (q_norm_) {
    kernels::rope(inner.dq, inner.dq, table, positions, /*inverse=*/true);
    kernels::rope(inner.dk, inner.dk, table, positions, /*inverse=*/true);
    dq.copy_(q_norm_->backward(weights, inner.dq, q, rotated.q_rstd, {}, grads));
    dk.copy_(k_norm_->backward(weights, inner.dk, k, rotated.k_rstd, {}, grads));
  } else {
    kernels::rope(inner.dq, dq, table, positions, /*inverse=*/true);
    kernels::rope(inner.dk, dk, table, positions, /*inverse=*/true);
  }
  dprojected[2].copy_(inner.dv.view({tokens, -1}));

  const LinearGroupGrad received = qkv_.received(dprojected);
  // The input gradient is summed over the ranks while the weight gradients are formed.
  PendingTensor dx = spec_.region.start_enter_backward(qkv_.grad_input(weights, received));
  qkv_.grad_weights(inside_x.wait(), received, grads);
  return dx.wait();
}

}  // namespace tessera
