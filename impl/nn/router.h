// The router of a mixture of experts: logits per token, the choice, and what balances the load.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/routing.h"
#include "nn/linear.h"
#include "nn/unit.h"

namespace tessera {

struct RouterSpec {
  int64_t hidden = 0;
  int64_t experts = 0;
  kernels::RoutingOptions options;
  /// The logits' product in float32, whatever the compute dtype (DeepSeek-V3).
  bool float32 = false;
  bool bias = false;
  /// Ranks of the tp axis route different rows: their weight gradients are partial sums.
  bool rows_split = false;
  double init_std = 0.02;
  std::string name = "gate";
  /// A float32 [experts] that is added to the scores for the choice only (Wang et al., 2024); empty: none.
  std::string selection_bias_name;
};

/// What a router has sent to each expert since it was cleared, on this rank.
struct RouterLoad {
  std::vector<int64_t> counts;  ///< by expert: pairs of a token and an expert
  int64_t tokens = 0;
  double balance_loss = 0;  ///< this rank's part of the sum over micro-batches, before the coefficient
  double z_loss = 0;
  /// Of routers on a device: float64 [experts + 2] there, counts and the two losses, so that no step waits
  /// for it.
  at::Tensor on_device;

  /// Counts the choices int64 [T, k] of some tokens, on the cpu.
  void add(const at::Tensor& chosen, int64_t experts);
  /// Adds what is on the device to the rest. Waits for the device.
  void bring_home();
};

/// Terms that a layer adds to the loss, and how they are scaled.
struct RouterLosses {
  /// Of E sum_e f_e P_e over a micro-batch's tokens, f_e the share of tokens that chose e and P_e the mean
  /// score (Switch Transformer: Fedus et al., 2021). Micro-batches count by their tokens.
  double balance = 0;
  double z = 0;  ///< of the mean over tokens of logsumexp(logits)^2 (ST-MoE: Zoph et al., 2022)
  /// The ranks that have parts of one micro-batch; null: one.
  GroupPtr sharers;
  /// The balance loss is formed over all tokens of the step in place of a micro-batch's. `everyone`: the
  /// ranks that have them; null: one. A step of several micro-batches is told the counts beforehand
  /// (Router::expect).
  bool global = false;
  GroupPtr everyone;
};

class Router {
 public:
  /// Appends its parameters to `params`.
  Router(const std::string& prefix, const RouterSpec& spec, const RouterLosses& losses,
         std::vector<ParamSpec>& params);

  kernels::Routing forward(const std::vector<at::Tensor>& weights, const at::Tensor& x) const;
  /// dx [T, H] for the gradients of the weights, float32 [T, k]. Collective over losses.sharers, or over
  /// losses.everyone. Adds to `load`.
  at::Tensor backward(const std::vector<at::Tensor>& weights, const at::Tensor& dweights,
                      const kernels::Routing& routing, const at::Tensor& x, const Microbatch& mb,
                      RouterLoad& load, WeightGrads& grads) const;

  /// The pairs of each expert in the whole step, and then its tokens, float64 [E + 1]; undefined: backward
  /// counts.
  void expect(at::Tensor totals) { totals_ = std::move(totals); }

  /// Its place among the unit's parameters; -1: there is none.
  int selection_bias() const { return selection_bias_; }

 private:
  at::Tensor logits(const std::vector<at::Tensor>& weights, const at::Tensor& x) const;
  /// Like expect()'s, of what the loss is over.
  at::Tensor count(const kernels::Routing& routing) const;
  void sum_counts(const at::Tensor& totals) const;
  at::Tensor loss_gradient(const kernels::Routing& routing, const Microbatch& mb, RouterLoad& load) const;
  at::Tensor loss_gradient_there(const kernels::Routing& routing, const Microbatch& mb,
                                 const at::Tensor& counts, RouterLoad& load) const;
  void add_z_gradient_there(const at::Tensor& dlogits, const at::Tensor& logits, const Microbatch& mb,
                            RouterLoad& load) const;
  void add_z_gradient(const at::Tensor& dlogits, const at::Tensor& logits, const Microbatch& mb,
                      RouterLoad& load) const;

  RouterSpec spec_;
  RouterLosses losses_;
  Linear linear_;
  int selection_bias_ = -1;
  at::Tensor totals_;
};

}  // namespace tessera
