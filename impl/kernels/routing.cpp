// Expert choice and its gradient, a token at a time.
#include "kernels/routing.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/parallel.h"

namespace tessera::kernels {
namespace {

using Scoring = RoutingOptions::Scoring;
constexpr float kNever = -std::numeric_limits<float>::infinity();

void check_options(const RoutingOptions& options, int64_t experts) {
  TESSERA_CHECK(options.top_k >= 1 && options.top_k <= experts, argument, "top_k=", options.top_k,
                " is not within 1..", experts, " experts");
  TESSERA_CHECK(options.groups >= 1 && experts % options.groups == 0, argument, "groups=", options.groups,
                " do not divide ", experts, " experts");
  TESSERA_CHECK(options.top_groups >= 1 && options.top_groups <= options.groups, argument,
                "top_groups=", options.top_groups, " is not within 1..", options.groups);
  TESSERA_CHECK(options.top_k <= experts / options.groups * options.top_groups, argument,
                "top_k=", options.top_k, " experts are not in ", options.top_groups, " groups of ",
                experts / options.groups);
}

void check_matrix(const at::Tensor& t, const char* name) {
  TESSERA_CHECK(t.defined() && t.dim() == 2 && t.scalar_type() == at::kFloat && t.is_contiguous(), argument,
                "routing: ", name, " must be a contiguous float32 matrix");
}

void softmax(const float* logits, float* out, int64_t n) {
  const float top = *std::max_element(logits, logits + n);
  float sum = 0;
  for (int64_t e = 0; e < n; ++e) sum += out[e] = std::exp(logits[e] - top);
  for (int64_t e = 0; e < n; ++e) out[e] /= sum;
}

void sigmoid(const float* logits, float* out, int64_t n) {
  for (int64_t e = 0; e < n; ++e) out[e] = 1 / (1 + std::exp(-logits[e]));
}

// Chooses the experts of one token at a time; holds the scratch memory of a thread.
class Chooser {
 public:
  Chooser(const RoutingOptions& options, int64_t experts)
      : options_(options), experts_(experts), keys_(experts), order_(experts), group_order_(options.groups) {}

  // The top_k of `scores` + `bias` into `chosen`.
  void choose(const float* scores, const float* bias, int64_t* chosen) {
    for (int64_t e = 0; e < experts_; ++e) {
      const float key = bias ? scores[e] + bias[e] : scores[e];
      keys_[e] = std::isnan(key) ? kNever : key;
    }
    allowed_.assign(options_.groups, true);
    if (options_.top_groups < options_.groups) limit_groups();
    const int64_t size = experts_ / options_.groups;
    int64_t count = 0;
    for (int64_t e = 0; e < experts_; ++e) {
      if (allowed_[e / size]) order_[count++] = e;
    }
    top(order_.data(), count, options_.top_k, keys_);
    std::copy_n(order_.data(), options_.top_k, chosen);
  }

 private:
  // Puts the best `k` of `candidates` first, in order.
  static void top(int64_t* candidates, int64_t count, int64_t k, const std::vector<float>& keys) {
    std::partial_sort(candidates, candidates + k, candidates + count,
                      [&](int64_t a, int64_t b) { return keys[a] != keys[b] ? keys[a] > keys[b] : a < b; });
  }

  void limit_groups() {
    const int64_t size = experts_ / options_.groups;
    std::vector<float> best(options_.groups);
    for (int64_t g = 0; g < options_.groups; ++g) {
      float first = kNever;
      float second = kNever;
      for (int64_t e = g * size; e < (g + 1) * size; ++e) {
        if (keys_[e] > first) {
          second = first;
          first = keys_[e];
        } else if (keys_[e] > second) {
          second = keys_[e];
        }
      }
      best[g] = size > 1 ? first + second : first;
    }
    std::iota(group_order_.begin(), group_order_.end(), 0);
    top(group_order_.data(), options_.groups, options_.top_groups, best);
    allowed_.assign(options_.groups, false);
    for (int64_t g = 0; g < options_.top_groups; ++g) allowed_[group_order_[g]] = true;
  }

  const RoutingOptions& options_;
  int64_t experts_;
  std::vector<float> keys_;
  std::vector<int64_t> order_;
  std::vector<int64_t> group_order_;
  std::vector<bool> allowed_;
};

// The weights of one token's chosen experts, from its logits or scores.
void weigh(const float* logits, const float* scores, const int64_t* chosen, const RoutingOptions& options,
           float* weights) {
  const int64_t k = options.top_k;
  const bool late = options.scoring == Scoring::topk_softmax;
  for (int64_t j = 0; j < k; ++j) weights[j] = late ? logits[chosen[j]] : scores[chosen[j]];
  float divisor = 1;
  if (late) {
    softmax(weights, weights, k);
  } else if (options.normalize) {
    divisor = std::accumulate(weights, weights + k, 0.0F) + static_cast<float>(options.epsilon);
  }
  for (int64_t j = 0; j < k; ++j) weights[j] = weights[j] / divisor * static_cast<float>(options.scale);
}

// Adds the gradient of one token's weights to that of its scores.
void unweigh(const float* dweights, const float* weights, const float* scores, const int64_t* chosen,
             const RoutingOptions& options, float* dscores) {
  const auto scale = static_cast<float>(options.scale);
  if (!options.normalize) {
    for (int64_t j = 0; j < options.top_k; ++j) dscores[chosen[j]] += dweights[j] * scale;
    return;
  }
  // w_j = scale s_j / S, S = sum + epsilon: ds_j = (scale dw_j - sum_i dw_i w_i) / S.
  float sum = static_cast<float>(options.epsilon);
  float dot = 0;
  for (int64_t j = 0; j < options.top_k; ++j) {
    sum += scores[chosen[j]];
    dot += dweights[j] * weights[j];
  }
  for (int64_t j = 0; j < options.top_k; ++j) dscores[chosen[j]] += (scale * dweights[j] - dot) / sum;
}

// dlogits = s (ds - sum ds s), in place.
void softmax_backward(const float* s, float* gradient, int64_t n) {
  float dot = 0;
  for (int64_t e = 0; e < n; ++e) dot += gradient[e] * s[e];
  for (int64_t e = 0; e < n; ++e) gradient[e] = s[e] * (gradient[e] - dot);
}

// Softmax over the chosen logits, scaled: dl_j = w_j (dw_j - sum_i dw_i w_i / scale).
void topk_softmax_backward(const float* dweights, const float* weights, const int64_t* chosen,
                           const RoutingOptions& options, float* dlogits) {
  float dot = 0;
  for (int64_t j = 0; j < options.top_k; ++j) dot += dweights[j] * weights[j];
  dot /= static_cast<float>(options.scale);
  for (int64_t j = 0; j < options.top_k; ++j) dlogits[chosen[j]] += weights[j] * (dweights[j] - dot);
}

// ---- The same from ATen's operators, for devices.

// Sorts are stable where the choice is final, so that equal keys go by index as above.
at::Tensor choose_composed(const at::Tensor& base, const RoutingOptions& options, const at::Tensor& bias) {
  constexpr double kLowest = std::numeric_limits<float>::lowest();
  const int64_t tokens = base.size(0), experts = base.size(1);
  at::Tensor keys = at::nan_to_num(bias.defined() ? base + bias : base, kLowest,
                                   std::numeric_limits<float>::infinity(), kLowest);
  if (options.top_groups < options.groups) {
    const int64_t size = experts / options.groups;
    const at::Tensor grouped = keys.view({tokens, options.groups, size});
    const at::Tensor best = at::sum(std::get<0>(at::topk(grouped, std::min<int64_t>(2, size), -1)), {-1});
    const at::Tensor order = std::get<1>(at::sort(best, std::optional<bool>(true), 1, true));
    const at::Tensor shut = at::zeros({tokens, options.groups}, keys.options()).fill_(1);
    shut.scatter_(1, order.narrow(1, 0, options.top_groups), 0);
    keys = grouped.masked_fill(shut.to(at::kBool).unsqueeze(2), kNever).view({tokens, experts});
  }
  return std::get<1>(at::sort(keys, std::optional<bool>(true), 1, true))
      .narrow(1, 0, options.top_k)
      .contiguous();
}

Routing route_composed(const at::Tensor& logits, const RoutingOptions& options, const at::Tensor& bias) {
  Routing result;
  result.scores = options.scoring == Scoring::sigmoid ? at::sigmoid(logits) : at::softmax(logits, -1);
  const bool late = options.scoring == Scoring::topk_softmax;
  result.experts = choose_composed(late ? logits : result.scores, options, bias);
  if (late) {
    result.weights = at::softmax(logits.gather(1, result.experts), -1);
  } else {
    result.weights = result.scores.gather(1, result.experts);
    if (options.normalize) result.weights.div_(at::sum(result.weights, {1}, true).add_(options.epsilon));
  }
  if (options.scale != 1) result.weights.mul_(options.scale);
  return result;
}

at::Tensor softmax_backward_composed(const at::Tensor& s, const at::Tensor& gradient) {
  return s * (gradient - at::sum(gradient * s, {1}, true));
}

at::Tensor route_backward_composed(const at::Tensor& dweights, const Routing& routing,
                                   const RoutingOptions& options, const at::Tensor& dscores) {
  const at::Tensor gradient = dscores.defined() ? dscores.clone() : at::zeros_like(routing.scores);
  if (options.scoring == Scoring::topk_softmax) {
    const at::Tensor dlogits =
        dscores.defined() ? softmax_backward_composed(routing.scores, gradient) : gradient;
    const at::Tensor dot = at::sum(dweights * routing.weights, {1}, true).div_(options.scale);
    return dlogits.scatter_add_(1, routing.experts, routing.weights * (dweights - dot));
  }
  at::Tensor chosen = dweights * options.scale;
  if (options.normalize) {
    const at::Tensor sum = at::sum(routing.scores.gather(1, routing.experts), {1}, true);
    chosen = (chosen - at::sum(dweights * routing.weights, {1}, true)) / sum.add_(options.epsilon);
  }
  gradient.scatter_add_(1, routing.experts, chosen);
  if (options.scoring == Scoring::softmax) return softmax_backward_composed(routing.scores, gradient);
  return gradient * routing.scores * (1 - routing.scores);
}

}  // namespace

Routing route(const at::Tensor& logits, const RoutingOptions& options, const at::Tensor& selection_bias) {
  check_matrix(logits, "logits");
  const int64_t tokens = logits.size(0);
  const int64_t experts = logits.size(1);
  check_options(options, experts);
  if (selection_bias.defined()) {
    TESSERA_CHECK(selection_bias.numel() == experts && selection_bias.scalar_type() == at::kFloat &&
                      selection_bias.is_contiguous() && selection_bias.device() == logits.device(),
                  argument, "routing: the selection bias ", selection_bias.sizes(),
                  " must be contiguous float32 [", experts, "] on ", logits.device());
  }
  if (!logits.is_cpu()) return route_composed(logits, options, selection_bias);
  Routing result;
  result.experts = at::empty({tokens, options.top_k}, logits.options().dtype(at::kLong));
  result.weights = at::empty({tokens, options.top_k}, logits.options());
  result.scores = at::empty_like(logits);
  const float* bias = selection_bias.defined() ? selection_bias.const_data_ptr<float>() : nullptr;
  const float* all_logits = logits.const_data_ptr<float>();
  auto* all_scores = result.scores.mutable_data_ptr<float>();
  auto* all_chosen = result.experts.mutable_data_ptr<int64_t>();
  auto* all_weights = result.weights.mutable_data_ptr<float>();
  const bool is_sigmoid = options.scoring == Scoring::sigmoid;
  const bool late = options.scoring == Scoring::topk_softmax;
  parallel(tokens, experts * 32, [&](int64_t begin, int64_t end) {
    Chooser chooser(options, experts);
    for (int64_t t = begin; t < end; ++t) {
      const float* row = all_logits + t * experts;
      float* scores = all_scores + t * experts;
      int64_t* chosen = all_chosen + t * options.top_k;
      is_sigmoid ? sigmoid(row, scores, experts) : softmax(row, scores, experts);
      chooser.choose(late ? row : scores, bias, chosen);
      weigh(row, scores, chosen, options, all_weights + t * options.top_k);
    }
  });
  return result;
}

at::Tensor route_backward(const at::Tensor& dweights, const Routing& routing, const RoutingOptions& options,
                          const at::Tensor& dscores) {
  check_matrix(dweights, "dweights");
  TESSERA_CHECK(dweights.sizes() == routing.weights.sizes(), argument, "routing: dweights ", dweights.sizes(),
                " are not shaped like the weights ", routing.weights.sizes());
  if (dscores.defined()) check_matrix(dscores, "dscores");
  if (!dweights.is_cpu()) return route_backward_composed(dweights, routing, options, dscores);
  const int64_t experts = routing.scores.size(1);
  const int64_t k = options.top_k;
  at::Tensor dlogits = dscores.defined() ? dscores.clone() : at::zeros_like(routing.scores);
  const float* all_dweights = dweights.const_data_ptr<float>();
  const float* all_weights = routing.weights.const_data_ptr<float>();
  const float* all_scores = routing.scores.const_data_ptr<float>();
  const int64_t* all_chosen = routing.experts.const_data_ptr<int64_t>();
  auto* all_dlogits = dlogits.mutable_data_ptr<float>();
  parallel(dweights.size(0), experts * 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* scores = all_scores + t * experts;
      const int64_t* chosen = all_chosen + t * k;
      float* gradient = all_dlogits + t * experts;
      if (options.scoring == Scoring::topk_softmax) {
        if (dscores.defined()) softmax_backward(scores, gradient, experts);
        topk_softmax_backward(all_dweights + t * k, all_weights + t * k, chosen, options, gradient);
        continue;
      }
      unweigh(all_dweights + t * k, all_weights + t * k, scores, chosen, options, gradient);
      if (options.scoring == Scoring::softmax) {
        softmax_backward(scores, gradient, experts);
      } else {
        for (int64_t e = 0; e < experts; ++e) gradient[e] *= scores[e] * (1 - scores[e]);
      }
    }
  });
  return dlogits;
}

}  // namespace tessera::kernels
