// A pre-norm decoder layer.
#include "nn/decoder_layer.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/elementwise.h"

namespace tessera {
namespace {

std::unique_ptr<AttentionBlock> make_attention(const std::string& prefix, const DecoderLayerSpec& spec,
                                               RopeCachePtr rope, std::vector<ParamSpec>& params) {
  const std::string name = prefix + ".self_attn";
  if (spec.latent) return std::make_unique<LatentAttention>(name, *spec.latent, std::move(rope), params);
  return std::make_unique<Attention>(name, spec.attention, std::move(rope), params);
}

std::unique_ptr<FeedForward> make_feed_forward(const std::string& prefix, const DecoderLayerSpec& spec,
                                               const ParallelContext& parallel,
                                               std::vector<ParamSpec>& params) {
  const std::string name = cat(prefix, ".", spec.feed_forward_name);
  if (spec.moe) return std::make_unique<Moe>(name, *spec.moe, parallel, params);
  return std::make_unique<Mlp>(name, spec.mlp, params);
}

}  // namespace

DecoderLayer::DecoderLayer(const std::string& prefix, const DecoderLayerSpec& spec, RopeCachePtr rope,
                           const ParallelContext& parallel)
    : Unit(prefix),
      attention_(make_attention(prefix, spec, std::move(rope), params_)),
      feed_forward_(make_feed_forward(prefix, spec, parallel, params_)),
      attention_norm_(prefix + ".input_layernorm", spec.attention.hidden, spec.norm_eps, params_,
                      spec.sequence_parallel, spec.norm_gain),
      mlp_norm_(prefix + (spec.sandwich_norms ? ".pre_feedforward_layernorm" : ".post_attention_layernorm"),
                spec.attention.hidden, spec.norm_eps, params_, spec.sequence_parallel, spec.norm_gain),
      meets_peers_(spec.moe.has_value() &&
                   (parallel.experts.size > 1 || parallel.experts.everyone != nullptr)) {
  if (!spec.sandwich_norms) return;
  const auto add_norm = [&](std::optional<RmsNorm>& norm, const char* name) {
    norm.emplace(prefix + name, spec.attention.hidden, spec.norm_eps, params_, spec.sequence_parallel,
                 spec.norm_gain);
  };
  add_norm(attention_out_norm_, ".post_attention_layernorm");
  add_norm(mlp_out_norm_, ".post_feedforward_layernorm");
}

std::vector<Linear*> DecoderLayer::linears() {
  std::vector<Linear*> layers = attention_->linears();
  for (Linear* layer : feed_forward_->linears()) layers.push_back(layer);
  return layers;
}

int DecoderLayer::use_float8(kernels::Float8Recipe recipe, const std::vector<std::string>& skipped,
                             int64_t tp_size) {
  int count = 0;
  for (Linear* layer : linears()) {
    const ParamSpec& weight = params_[layer->weight()];
    const auto named = [&](const std::string& part) { return weight.name.find(part) != std::string::npos; };
    if (std::any_of(skipped.begin(), skipped.end(), named)) continue;
    const std::vector<int64_t> part = tp_box(weight, 0, tp_size).size;
    const auto fits = [](int64_t size) { return size % kernels::kFloat8Multiple == 0; };
    if (!std::all_of(part.begin(), part.end(), fits) ||
        !std::all_of(weight.shape.begin(), weight.shape.end(), fits)) {
      continue;
    }
    layer->use_float8(recipe);
    params_[layer->weight()].float8 = true;
    params_[layer->weight()].float8_gather = recipe == kernels::Float8Recipe::tensorwise;
    ++count;
  }
  return count;
}

void DecoderLayer::bind(std::vector<at::Tensor> weights) {
  forget_derived();
  Unit::bind(std::move(weights));
  for (Linear* layer : linears()) {
    const auto index = static_cast<size_t>(layer->weight());
    if (index < scales_.size() && scales_[index].defined()) layer->bind({weights_[index], scales_[index]});
  }
  attention_->bind(weights_);
  feed_forward_->bind(weights_);
}

void DecoderLayer::forget_derived() {
  for (const Linear* layer : linears()) layer->forget();
}

void DecoderLayer::unbind() {
  for (Linear* layer : linears()) layer->unbind();
  attention_->unbind();
  feed_forward_->unbind();
  Unit::unbind();
}

at::Tensor DecoderLayer::forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                                 Recompute recompute) {
  return run(input, mb, saved, recompute, /*refills=*/false);
}

// As with selective recomputation, whose backward makes the rest again. The down projection is a quarter of a
// layer's products and more, and no backward needs what it gives, unless a norm behind it does.
void DecoderLayer::refill(const at::Tensor& input, const Microbatch& mb, Saved& saved) {
  run(input, mb, saved, Recompute::selective, !mlp_out_norm_ && mb.batch->tokens_count() > 0);
}

at::Tensor DecoderLayer::run(const at::Tensor& input, const Microbatch& mb, Saved& saved, Recompute recompute,
                             bool refills) {
  saved.set_recompute(recompute);
  // Under full recompute the blocks fill a stack that is dropped at the end.
  Saved dropped;
  Saved& kept = recompute == Recompute::full ? dropped : saved;
  const Recompute inner = recompute == Recompute::full ? Recompute::selective : recompute;

  if (mb.batch->tokens_count() == 0) {
    const at::Tensor output = feed_forward_->forward(weights_, input, mb, kept, inner);
    saved.push(input);
    return output;
  }
  const kernels::RmsNormResult first = attention_norm_.forward(weights_, input);
  const at::Tensor attended = attention_->forward(weights_, first.y, mb, kept, inner);
  dropped.clear();
  kernels::RmsNormResult attended_normed, fed_normed;
  if (attention_out_norm_) attended_normed = attention_out_norm_->forward(weights_, attended);
  const kernels::AddRmsNormResult second =
      mlp_norm_.forward_add(weights_, attention_out_norm_ ? attended_normed.y : attended, input);
  at::Tensor fed, output;
  if (refills) {
    feed_forward_->refill(weights_, second.y, mb, kept);
  } else {
    fed = feed_forward_->forward(weights_, second.y, mb, kept, inner);
    if (mlp_out_norm_) fed_normed = mlp_out_norm_->forward(weights_, fed);
    output = mlp_out_norm_ ? fed_normed.y : fed;
    kernels::add_to(output, second.sum);
  }

  if (attention_out_norm_ && recompute != Recompute::full) {
    saved.push(attended);
    saved.push(attended_normed.rstd);
    saved.push(fed);
    saved.push(fed_normed.rstd);
  }
  if (recompute == Recompute::none) {
    saved.push(first.y);
    saved.push(first.rstd);
    saved.push(second.y);
    saved.push(second.rstd);
  }
  if (recompute != Recompute::full) saved.push(second.sum);
  saved.push(input);
  return output;
}

at::Tensor DecoderLayer::backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                                  WeightGrads& grads) {
  if (saved.recompute() != Recompute::full) return backward_kept(grad_output, mb, saved, grads);
  const at::Tensor input = saved.pop();
  Saved again;
  refill(input, mb, again);
  return backward_kept(grad_output, mb, again, grads);
}

at::Tensor DecoderLayer::backward_kept(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                                       WeightGrads& grads) {
  const at::Tensor input = saved.pop();
  if (mb.batch->tokens_count() == 0) {
    return feed_forward_->backward(weights_, grad_output, input, mb, saved, grads);
  }
  const at::Tensor middle = saved.pop();
  kernels::RmsNormResult first;
  kernels::RmsNormResult second;
  if (saved.recompute() == Recompute::none) {
    second.rstd = saved.pop();
    second.y = saved.pop();
    first.rstd = saved.pop();
    first.y = saved.pop();
  } else {
    second = mlp_norm_.forward(weights_, middle);
  }

  kernels::RmsNormResult attended, fed;  // y is what was normalised
  if (attention_out_norm_) {
    fed.rstd = saved.pop();
    fed.y = saved.pop();
    attended.rstd = saved.pop();
    attended.y = saved.pop();
  }

  at::Tensor dfed = grad_output;
  if (mlp_out_norm_) dfed = mlp_out_norm_->backward(weights_, grad_output, fed.y, fed.rstd, {}, grads);
  fed = {};
  const at::Tensor dnormed = feed_forward_->backward(weights_, dfed, second.y, mb, saved, grads);
  const at::Tensor dmiddle = mlp_norm_.backward(weights_, dnormed, middle, second.rstd, grad_output, grads);
  second = {};
  if (!first.y.defined()) first = attention_norm_.forward(weights_, input);
  at::Tensor dattended = dmiddle;
  if (attention_out_norm_) {
    dattended = attention_out_norm_->backward(weights_, dmiddle, attended.y, attended.rstd, {}, grads);
  }
  const at::Tensor dfirst = attention_->backward(weights_, dattended, first.y, mb, saved, grads);
  return attention_norm_.backward(weights_, dfirst, input, first.rstd, dmiddle, grads);
}

}  // namespace tessera
