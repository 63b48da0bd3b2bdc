// The first unit of a decoder: token embedding.
#pragma once

#include "nn/tensor_region.h"
#include "nn/unit.h"

namespace tessera {

class EmbeddingUnit : public Unit {
 public:
  /// Weight `prefix`.weight [vocab, hidden], whose rows may be cut over `region`; `stage_copies` pipeline
  /// stages hold it.
  /// Embeddings are multiplied by `scale`, rounded to their dtype, as Gemma's models do by sqrt(hidden).
  EmbeddingUnit(const std::string& prefix, int64_t vocab, int64_t hidden, double init_std,
                const TensorRegion& region, int64_t stage_copies = 1, double scale = 1);

  at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                     Recompute recompute) override;
  at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                      WeightGrads& grads) override;

 private:
  /// The token of this rank's first row.
  int64_t first_row() const;

  /// The factor as a number of this dtype.
  double scale_in(at::ScalarType dtype) const;

  int64_t vocab_;
  TensorRegion region_;
  double scale_;
};

}  // namespace tessera
