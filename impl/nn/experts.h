// The gated MLPs of a mixture of experts, on rows that are sorted by expert. On devices the experts' products
// are grouped: one launch for all experts, which finds their rows by offsets in the device's memory. Only
// weight gradients are a product each, because each is written where it is reduced.
#pragma once

#include <string>
#include <vector>

#include "kernels/activation.h"
#include "nn/expert_dispatch.h"
#include "nn/linear.h"
#include "nn/unit.h"

namespace tessera {

struct ExpertsSpec {
  int64_t hidden = 0;
  int64_t intermediate = 0;
  double init_std = 0.02;
  ExpertPlacement placement;
  /// The widths are cut over tp: results are partial sums.
  bool split_width = false;
  Activation activation = Activation::silu;
  bool bias = false;
  /// This rank adds the biases of the down projections: of partial sums only one may have them.
  bool carries_bias = true;
  // Names below the block's prefix, as in the family's checkpoints; "{}" is the expert's number.
  std::string gate_name = "experts.{}.gate_proj";
  std::string up_name = "experts.{}.up_proj";
  std::string down_name = "experts.{}.down_proj";
  /// The tensors that checkpoints stack a layer's experts in (gpt-oss), below the block's prefix: `stack` +
  /// ".gate_up_proj" [E, H, 2F], gate and up taking turns, ".down_proj" [E, F, H], and the biases
  /// ".gate_up_proj_bias" [E, 2F] and ".down_proj_bias" [E, H]. Empty: each expert has tensors of its own.
  std::string stack;
};

class Experts {
 public:
  /// Appends the parameters of all experts, those of other ranks too (ParamSpec::ep_index), by number.
  Experts(const std::string& prefix, const ExpertsSpec& spec, std::vector<ParamSpec>& params);

  void bind(const std::vector<at::Tensor>& weights);
  void unbind();

  /// rows [R, H], of which expert_rows[e] belong to this rank's e-th expert, one expert after the other ->
  /// [R, H]. Pushes what backward needs, except rows.
  at::Tensor forward(const std::vector<at::Tensor>& weights, const at::Tensor& rows,
                     const std::vector<int64_t>& expert_rows, Saved& saved, Recompute recompute) const;

  struct Gradients {
    at::Tensor rows;     ///< [R, H]
    at::Tensor weights;  ///< float32 [R]: of the routing weights; partial sums when widths are cut
  };
  /// For the gradients drows [R, H] of results that were multiplied by factors float32 [R]. May
  /// overwrite drows; weight gradients may go on reading rows and drows. Experts without a row get zero
  /// gradients, not none.
  Gradients backward(const std::vector<at::Tensor>& weights, const at::Tensor& drows,
                     const at::Tensor& factors, const at::Tensor& rows,
                     const std::vector<int64_t>& expert_rows, Saved& saved, WeightGrads& grads) const;

 private:
  struct Expert {
    LinearGroup gate_up;
    Linear down;
  };
  struct Projections {
    at::Tensor gate, up;
  };
  /// All experts' products in one, of rows on a device.
  at::Tensor forward_grouped(const at::Tensor& rows, const std::vector<int64_t>& expert_rows, Saved& saved,
                             Recompute recompute) const;
  Gradients backward_grouped(const at::Tensor& drows, const at::Tensor& factors, const at::Tensor& rows,
                             const std::vector<int64_t>& expert_rows, Saved& saved, WeightGrads& grads) const;
  bool groups(const at::Tensor& rows) const;
  Projections halves(const at::Tensor& gate_up) const;
  Expert& own(size_t e) { return experts_[spec_.placement.first() + e]; }
  const Expert& own(size_t e) const { return experts_[spec_.placement.first() + e]; }
  struct Window;
  struct Kept {
    at::Tensor gate, up, activation;  ///< over the expert's window
  };
  static std::vector<Window> windows(const at::Tensor& rows, const std::vector<int64_t>& expert_rows);
  static std::vector<Kept> pop(const std::vector<int64_t>& expert_rows, Saved& saved);
  void add_bias_grads(size_t e, const at::Tensor& doutput, const at::Tensor& factor,
                      const std::vector<at::Tensor>& dprojected, WeightGrads& grads) const;
  size_t own_count() const { return static_cast<size_t>(spec_.placement.local()); }

  ExpertsSpec spec_;
  std::vector<Expert> experts_;
  // Of this rank's experts while they are bound, where their weights lie at equal distances in one memory:
  at::Tensor gate_up_;  // [experts, 2 F, H]
  at::Tensor down_;     // [experts, H, F]
};

}  // namespace tessera
