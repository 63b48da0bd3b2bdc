// The last unit of a decoder: final norm, output projection and cross-entropy, a chunk of tokens at a time.
#pragma once

#include "nn/norm.h"
#include "nn/unit.h"

namespace tessera {

class DecoderHead : public HeadUnit {
 public:
  /// Norm `norm_prefix`.weight [hidden] and projection `projection_prefix`.weight [vocab, hidden]; with
  /// `tied` the projection is borrowed from weight 0 of unit 0.
  DecoderHead(const std::string& norm_prefix, const std::string& projection_prefix, int64_t vocab,
              int64_t hidden, double norm_eps, double init_std, bool tied);

  LossResult loss(const at::Tensor& input, const Microbatch& mb, WeightGrads* grads) override;
  at::Tensor logits(const at::Tensor& input, const at::Tensor& rows) override;

  /// loss() does both, and a caller that wants logits asks for them: these throw Error(internal).
  at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                     Recompute recompute) override;
  at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                      WeightGrads& grads) override;

 private:
  int64_t chunk_rows(const at::Tensor& normed, const Microbatch& mb) const;

  int64_t vocab_;
  RmsNorm norm_;
};

}  // namespace tessera
