// Logits, choice and the losses that balance the load.
#include "nn/router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "kernels/device_copy.h"
#include "kernels/linear.h"

namespace tessera {
namespace {

LinearSpec linear_spec(const std::string& prefix, const RouterSpec& spec) {
  return {prefix + "." + spec.name,    spec.hidden, spec.experts, spec.bias, spec.init_std,
          LinearSpec::Style::replicate};
}

}  // namespace

Router::Router(const std::string& prefix, const RouterSpec& spec, const RouterLosses& losses,
               std::vector<ParamSpec>& params)
    : spec_(spec), losses_(losses), linear_(linear_spec(prefix, spec), params) {
  params[linear_.weight()].tp_partial = spec.rows_split;
  if (linear_.bias() >= 0) params[linear_.bias()].tp_partial = spec.rows_split;
  if (spec.selection_bias_name.empty()) return;
  selection_bias_ = static_cast<int>(params.size());
  ParamSpec bias;
  bias.name = prefix + "." + spec.selection_bias_name;
  bias.shape = {spec.experts};
  bias.init = {Init::Kind::zeros, 0};
  bias.decay = false;
  bias.trainable = false;
  bias.exact = true;
  params.push_back(std::move(bias));
}

at::Tensor Router::logits(const std::vector<at::Tensor>& weights, const at::Tensor& x) const {
  if (!spec_.float32) return linear_.forward(weights, x).to(at::kFloat);
  const at::Tensor bias = linear_.bias() >= 0 ? weights[linear_.bias()].to(at::kFloat) : at::Tensor();
  return kernels::linear(x.to(at::kFloat), weights[linear_.weight()].to(at::kFloat), bias);
}

kernels::Routing Router::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x) const {
  at::Tensor bias;  // a few values that rest in host memory
  if (selection_bias_ >= 0) bias = sent_to(x.device(), weights[selection_bias_].to(at::kFloat).contiguous());
  return kernels::route(logits(weights, x), spec_.options, bias);
}

void Router::sum_counts(const at::Tensor& totals) const {
  const GroupPtr& group = losses_.global ? losses_.everyone : losses_.sharers;
  if (group) group->all_reduce({totals}, ReduceOp::sum)->wait();
}

at::Tensor Router::count(const kernels::Routing& routing) const {
  const at::Tensor totals = at::zeros({spec_.experts + 1}, at::dtype(at::kDouble));
  auto* total = totals.mutable_data_ptr<double>();
  const int64_t* chosen = routing.experts.const_data_ptr<int64_t>();
  for (int64_t p = 0; p < routing.experts.numel(); ++p) total[chosen[p]] += 1;
  total[spec_.experts] = static_cast<double>(routing.experts.size(0));
  sum_counts(totals);
  return totals;
}

// The gradient of the scores by the balance loss. With n_e the pairs of expert e among the T tokens of the
// micro-batch, the loss is E sum_e (n_e / T) (sum_t s_te / T), and counts for T of the step's tokens: the
// gradient of s_te is E n_e / T of the step's share of one token. n_e itself has no gradient. Over the whole
// step n_e and T are the step's, and the rest is the same.
at::Tensor Router::loss_gradient(const kernels::Routing& routing, const Microbatch& mb,
                                 RouterLoad& load) const {
  const int64_t tokens = routing.scores.size(0);
  const int64_t experts = spec_.experts;
  const at::Tensor totals = totals_.defined() ? totals_ : count(routing);
  const double* total = totals.const_data_ptr<double>();
  const double all_tokens = total[experts];
  at::Tensor gradient = at::empty(routing.scores.sizes(), routing.scores.options());
  if (tokens == 0) return gradient;
  const float* score = routing.scores.const_data_ptr<float>();
  auto* out = gradient.mutable_data_ptr<float>();
  const double unit = losses_.balance * mb.token_scale * static_cast<double>(experts) / all_tokens;
  double value = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t e = 0; e < experts; ++e) {
      value += total[e] * score[t * experts + e];
      out[t * experts + e] = static_cast<float>(unit * total[e]);
    }
  }
  load.balance_loss += value * static_cast<double>(experts) / all_tokens;
  return gradient;
}

// The same where neither counts nor sums come to the host. `counts` float64 [experts].
at::Tensor Router::loss_gradient_there(const kernels::Routing& routing, const Microbatch& mb,
                                       const at::Tensor& counts, RouterLoad& load) const {
  const int64_t tokens = routing.scores.size(0);
  const int64_t experts = spec_.experts;
  at::Tensor total;
  if (totals_.defined()) {
    total = sent_to(counts.device(), totals_);
  } else {
    total = at::cat({counts, at::full({1}, static_cast<double>(tokens), counts.options())});
    sum_counts(total);
  }
  if (tokens == 0) return at::empty(routing.scores.sizes(), routing.scores.options());
  const at::Tensor share =
      total.narrow(0, 0, experts) / total.narrow(0, experts, 1) * static_cast<double>(experts);
  load.on_device.select(0, experts).add_(at::sum(share * at::sum(routing.scores, {0}, false, at::kDouble)));
  return (share * (losses_.balance * mb.token_scale))
      .to(routing.scores.scalar_type())
      .expand(routing.scores.sizes())
      .contiguous();
}

void Router::add_z_gradient_there(const at::Tensor& dlogits, const at::Tensor& logits, const Microbatch& mb,
                                  RouterLoad& load) const {
  const at::Tensor lse = at::logsumexp(logits, {1}, true);
  load.on_device.select(0, spec_.experts + 1).add_(at::sum(lse * lse, at::kDouble));
  const at::Tensor gradient = at::softmax(logits, -1).mul_(lse).mul_(2 * losses_.z * mb.token_scale);
  at::Tensor(dlogits).add_(gradient);
}

void RouterLoad::add(const at::Tensor& chosen, int64_t experts) {
  counts.resize(experts, 0);
  tokens += chosen.size(0);
  const int64_t* expert = chosen.const_data_ptr<int64_t>();
  for (int64_t p = 0; p < chosen.numel(); ++p) ++counts[expert[p]];
}

void RouterLoad::bring_home() {
  if (!on_device.defined()) return;
  const at::Tensor host = on_device.cpu();
  on_device.reset();
  const double* values = host.const_data_ptr<double>();
  const int64_t experts = host.numel() - 2;
  counts.resize(experts, 0);
  for (int64_t e = 0; e < experts; ++e) counts[e] += static_cast<int64_t>(values[e]);
  balance_loss += values[experts];
  z_loss += values[experts + 1];
}

// d/dlogits of (logsumexp)^2 is 2 logsumexp softmax(logits).
void Router::add_z_gradient(const at::Tensor& dlogits, const at::Tensor& logits, const Microbatch& mb,
                            RouterLoad& load) const {
  const int64_t experts = spec_.experts;
  const float* logit = logits.const_data_ptr<float>();
  auto* out = dlogits.mutable_data_ptr<float>();
  const double unit = 2 * losses_.z * mb.token_scale;
  for (int64_t t = 0; t < logits.size(0); ++t, logit += experts, out += experts) {
    const double top = *std::max_element(logit, logit + experts);
    double sum = 0;
    for (int64_t e = 0; e < experts; ++e) sum += std::exp(logit[e] - top);
    const double lse = top + std::log(sum);
    load.z_loss += lse * lse;
    for (int64_t e = 0; e < experts; ++e) {
      out[e] += static_cast<float>(unit * lse * std::exp(logit[e] - lse));
    }
  }
}

at::Tensor Router::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dweights,
                            const kernels::Routing& routing, const at::Tensor& x, const Microbatch& mb,
                            RouterLoad& load, WeightGrads& grads) const {
  const bool on_host = routing.experts.is_cpu();
  at::Tensor dscores;
  if (on_host) {
    load.add(routing.experts, spec_.experts);
    if (losses_.balance != 0) dscores = loss_gradient(routing, mb, load);
  } else {
    load.tokens += routing.experts.size(0);
    const auto f64 = routing.scores.options().dtype(at::kDouble);
    if (!load.on_device.defined()) load.on_device = at::zeros({spec_.experts + 2}, f64);
    const at::Tensor chosen = at::zeros_like(routing.scores).scatter_(1, routing.experts, 1);
    const at::Tensor counts = at::sum(chosen, {0}, false, at::kDouble);
    load.on_device.narrow(0, 0, spec_.experts).add_(counts);
    if (losses_.balance != 0) dscores = loss_gradient_there(routing, mb, counts, load);
  }
  const at::Tensor dlogits = kernels::route_backward(dweights, routing, spec_.options, dscores);
  if (losses_.z != 0) {
    const at::Tensor again = logits(weights, x);
    on_host ? add_z_gradient(dlogits, again, mb, load) : add_z_gradient_there(dlogits, again, mb, load);
  }

  const at::Tensor& weight = weights[linear_.weight()];
  if (!spec_.float32) {
    const at::Tensor rounded = dlogits.to(x.scalar_type());
    linear_.grad_weights(x, rounded, grads);
    return linear_.grad_input(weights, rounded);
  }
  const at::Tensor target = at::empty(weight.sizes(), dlogits.options());
  kernels::linear_grad_weight(x.to(at::kFloat), dlogits, target, false);
  grads.add(linear_.weight(), target);
  if (linear_.bias() >= 0) grads.add(linear_.bias(), kernels::linear_grad_bias(dlogits));
  return kernels::linear_grad_input(dlogits, weight.to(at::kFloat)).to(x.scalar_type());
}

}  // namespace tessera
