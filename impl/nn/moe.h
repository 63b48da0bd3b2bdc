// Mixture of experts: a router chooses top_k of the experts for each token, and their weighted outputs add up
// (Shazeer et al., 2017; Mixtral, 2024; DeepSeekMoE, 2024). Experts are spread over the ranks of ep.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/expert_dispatch.h"
#include "nn/experts.h"
#include "nn/feed_forward.h"
#include "nn/mlp.h"
#include "nn/router.h"

namespace tessera {

struct MoeSpec {
  RouterSpec router;              ///< rows_split is set here
  ExpertsSpec experts;            ///< placement and split_width are set here
  std::optional<MlpSpec> shared;  ///< the expert that all tokens pass
  std::string shared_name = "shared_experts";
};

/// With a capacity (capacity_factor c > 0) an expert takes ceil(c k T / E) of the T tokens of a whole
/// micro-batch, over cp and tp: those that give it the largest weights, of equals the first. What a token
/// loses is made up by its other experts (kernels/capacity.h); a token without any passes by. Only where
/// Microbatch::whole_tokens is given: in training.
class Moe : public FeedForward {
 public:
  /// Appends its parameters to `params`: router, experts by number, shared expert. Errors (argument): ep that
  /// does not divide the experts, tp that does not divide widths that it cuts.
  Moe(const std::string& prefix, const MoeSpec& spec, const ParallelContext& parallel,
      std::vector<ParamSpec>& params);

  void bind(const std::vector<at::Tensor>& weights) override;
  void unbind() override;
  /// Collective over ep, whose ranks call it for micro-batches without tokens too.
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                     Saved& saved, Recompute recompute) const override;
  at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                      const Microbatch& mb, Saved& saved, WeightGrads& grads) const override;

  /// Those of the shared expert: the routed ones' rows change from step to step, and the router decides.
  std::vector<Linear*> linears() override { return shared_ ? shared_->linears() : std::vector<Linear*>(); }

  /// Of the backwards since it was last taken.
  RouterLoad take_load() {
    load_.bring_home();
    return std::exchange(load_, {});
  }
  /// Counts the choices of forwards too, from begin_census on. For Router::expect.
  void begin_census() { census_.emplace(); }
  RouterLoad end_census();
  void expect(at::Tensor totals) { router_.expect(std::move(totals)); }
  /// The router's, among the unit's parameters; -1: there is none.
  int selection_bias() const { return router_.selection_bias(); }

 private:
  /// Which rows of a micro-batch this rank routes.
  struct Share {
    int64_t rows = 0;    ///< it holds, padding included
    int64_t first = 0;   ///< of them, in the batch
    int64_t routed = 0;  ///< the first so many of them, unless `picked` lists others
    at::Tensor tokens;   ///< those in the batch, int64 [routed] on the cpu, or undefined
    at::Tensor picked;   ///< int64 [routed], or undefined
  };
  Share share_of(const Microbatch& mb) const;
  bool limited(const Microbatch& mb) const { return capacity_factor_ > 0 && mb.whole_tokens >= 0; }
  /// The experts of the routed rows, -1 for what is beyond their capacity. Collective over the ranks of the
  /// micro-batch.
  at::Tensor within_capacity(const kernels::Routing& routing, const Microbatch& mb, const Share& share) const;
  /// The routed rows [routed, H] of what is [rows, H] outside, and the way back.
  at::Tensor routed_rows(const at::Tensor& x, const Microbatch& mb, const Share& share) const;
  at::Tensor outside_rows(const at::Tensor& routed, const Microbatch& mb, const Share& share) const;

  TensorRegion width_;  ///< cut widths: tokens come together, partial sums are added up
  TensorRegion rows_;   ///< otherwise the ranks of tp take a part of the tokens each
  bool sequence_parallel_;
  Router router_;
  Experts experts_;
  ExpertDispatchPtr dispatch_;
  std::optional<Mlp> shared_;
  double capacity_factor_;
  GroupPtr sharers_;  ///< ExpertContext::sharers
  int64_t experts_count_;
  mutable RouterLoad load_;
  mutable std::optional<RouterLoad> census_;
};

}  // namespace tessera
