// Causal self-attention over packed documents.
#include "nn/attention.h"

#include "kernels/attention.h"

namespace tessera {

namespace {

std::vector<LinearSpec> qkv_specs(const std::string& prefix, const AttentionSpec& spec) {
  const auto projection = [&](const char* name, int64_t heads) {
    return LinearSpec{prefix + name, spec.hidden,   heads * spec.head_dim,
                      spec.qkv_bias, spec.init_std, LinearSpec::Style::colwise};
  };
  return {projection(".q_proj", spec.heads), projection(".k_proj", spec.kv_heads),
          projection(".v_proj", spec.kv_heads)};
}

LinearSpec out_spec(const std::string& prefix, const AttentionSpec& spec) {
  return {prefix + ".o_proj", spec.heads * spec.head_dim, spec.hidden, spec.out_bias,
          spec.init_std,      LinearSpec::Style::rowwise};
}

std::vector<kernels::AttentionSpan> spans_of(const PackedBatch& batch) {
  return kernels::document_spans(batch.cu_seqlens, batch.cu_seqlens_padded, batch.tokens_count());
}

}  // namespace

Attention::Attention(const std::string& prefix, const AttentionSpec& spec, RopeCachePtr rope,
                     std::vector<ParamSpec>& params)
    : spec_(spec),
      rope_(std::move(rope)),
      qkv_(qkv_specs(prefix, spec), params),
      out_(out_spec(prefix, spec), params) {
  if (!spec.qk_norm) return;
  q_norm_.emplace(prefix + ".q_norm", spec.head_dim, spec.norm_eps, params);
  k_norm_.emplace(prefix + ".k_norm", spec.head_dim, spec.norm_eps, params);
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
  const kernels::RopeTable& table = rope_->table(*mb.batch);
  kernels::rope(result.q, result.q, table, mb.batch->position_ids);
  kernels::rope(result.k, result.k, table, mb.batch->position_ids);
  return result;
}

at::Tensor Attention::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                              const Microbatch& mb, Saved& saved, Recompute recompute) const {
  const int64_t tokens = x.size(0);
  const std::vector<at::Tensor> projected = qkv_.forward(weights, x);
  const at::Tensor q = projected[0].view({tokens, -1, spec_.head_dim});
  const at::Tensor k = projected[1].view({tokens, -1, spec_.head_dim});
  const at::Tensor v = projected[2].view({tokens, -1, spec_.head_dim});
  const Rotated rotated = norm_and_rotate(weights, q, k, mb);

  const kernels::AttentionOptions options{0, spec_.window};
  const kernels::AttentionResult result =
      kernels::attention(rotated.q, rotated.k, v, spans_of(*mb.batch), options);

  // q and k are the projections before the norms, or, without norms, after the rotation that was done in
  // place.
  saved.push(q);
  saved.push(k);
  saved.push(v);
  saved.push(result.out);
  saved.push(result.lse);
  if (q_norm_ && recompute == Recompute::none) {
    saved.push(rotated.q);
    saved.push(rotated.k);
    saved.push(rotated.q_rstd);
    saved.push(rotated.k_rstd);
  }
  return out_.forward(weights, result.out.view({tokens, -1}));
}

at::Tensor Attention::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy,
                               const at::Tensor& x, const Microbatch& mb, Saved& saved,
                               WeightGrads& grads) const {
  const int64_t tokens = x.size(0);
  Rotated rotated;
  if (q_norm_ && saved.recompute() == Recompute::none) {
    rotated.k_rstd = saved.pop();
    rotated.q_rstd = saved.pop();
    rotated.k = saved.pop();
    rotated.q = saved.pop();
  }
  const at::Tensor lse = saved.pop();
  const at::Tensor out = saved.pop();
  const at::Tensor v = saved.pop();
  const at::Tensor k = saved.pop();
  const at::Tensor q = saved.pop();
  if (!q_norm_) {
    rotated = {q, k, {}, {}};
  } else if (!rotated.q.defined()) {
    rotated = norm_and_rotate(weights, q, k, mb);
  }

  const at::Tensor out_rows = out.view({tokens, -1});
  const at::Tensor dout = out_.grad_input(weights, dy).view({tokens, -1, spec_.head_dim});
  out_.grad_weights(out_rows, dy, grads);
  const kernels::AttentionOptions options{0, spec_.window};
  const kernels::AttentionGrads inner =
      kernels::attention_backward(dout, rotated.q, rotated.k, v, out, lse, spans_of(*mb.batch), options);

  const std::vector<at::Tensor> dprojected = qkv_.empty_grads(x);
  const at::Tensor dq = dprojected[0].view({tokens, -1, spec_.head_dim});
  const at::Tensor dk = dprojected[1].view({tokens, -1, spec_.head_dim});
  const kernels::RopeTable& table = rope_->table(*mb.batch);
  const at::Tensor& positions = mb.batch->position_ids;
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

  const at::Tensor dx = qkv_.grad_input(weights, dprojected);
  qkv_.grad_weights(x, dprojected, grads);
  return dx;
}

}  // namespace tessera
