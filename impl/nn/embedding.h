// The first unit of a decoder: token embedding.
#pragma once

#include "nn/unit.h"

namespace tessera {

class EmbeddingUnit : public Unit {
 public:
  /// Weight `prefix`.weight [vocab, hidden].
  EmbeddingUnit(const std::string& prefix, int64_t vocab, int64_t hidden, double init_std);

  at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                     Recompute recompute) override;
  at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                      WeightGrads& grads) override;
};

}  // namespace tessera
