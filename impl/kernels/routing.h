// The choice of experts per token: scores, group limits, top-k and weights, and the gradient of the weights
// with respect to the router's logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::kernels {

struct RoutingOptions {
  enum class Scoring : int {
    softmax = 0,       ///< over all experts, before the choice (Mixtral, Qwen3-MoE)
    topk_softmax = 1,  ///< over the chosen experts' logits (gpt-oss)
    sigmoid = 2,       ///< per expert (DeepSeek-V3, GLM-4.5)
  };
  Scoring scoring = Scoring::softmax;
  int64_t top_k = 1;
  /// Weights of a token are divided by their sum plus `epsilon`. Without meaning for topk_softmax, whose
  /// weights add up to 1 anyway.
  bool normalize = false;
  double epsilon = 0;
  double scale = 1;  ///< multiplied into the weights at the end
  /// Experts are cut into `groups` equal groups, of which the best `top_groups` by the sum of their two best
  /// selection scores take part (DeepSeek-V3, 2024, section 2.1.2). 1 is no limit.
  int64_t groups = 1;
  int64_t top_groups = 1;
};

struct Routing {
  at::Tensor experts;  ///< int64 [T, k]: by falling selection score, equal scores by rising index
  at::Tensor weights;  ///< float32 [T, k]
  at::Tensor scores;   ///< float32 [T, E]: softmax or sigmoid of the logits
};

/// Routes by logits [T, E] (float32, contiguous); on devices nothing waits for the device. `selection_bias`
/// (float32 [E] or undefined) is added to the scores for the choice only, not for the weights
/// (auxiliary-loss-free balancing: Wang et al., 2024). A logit that is NaN is never preferred. Errors
/// (argument): shapes and options that do not fit.
Routing route(const at::Tensor& logits, const RoutingOptions& options, const at::Tensor& selection_bias = {});

/// dlogits float32 [T, E] from dweights float32 [T, k]. `dscores` (float32 [T, E] or undefined) are gradients
/// that reach the scores by another way, an auxiliary loss.
at::Tensor route_backward(const at::Tensor& dweights, const Routing& routing, const RoutingOptions& options,
                          const at::Tensor& dscores = {});

}  // namespace tessera::kernels
