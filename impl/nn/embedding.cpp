// The first unit of a decoder: token embedding.
#include "nn/embedding.h"

#include <ATen/ops/scalar_tensor.h>

#include "kernels/elementwise.h"
#include "kernels/embedding.h"

namespace tessera {

EmbeddingUnit::EmbeddingUnit(const std::string& prefix, int64_t vocab, int64_t hidden, double init_std,
                             const TensorRegion& region, int64_t stage_copies, double scale)
    : Unit(prefix), vocab_(vocab), region_(region), scale_(scale) {
  ParamSpec spec;
  spec.name = prefix + ".weight";
  spec.shape = {vocab, hidden};
  spec.init = {Init::Kind::normal, init_std};
  if (region.split()) spec.tp = Placement::shard(0);
  spec.stage_copies = stage_copies;
  params_.push_back(std::move(spec));
}

int64_t EmbeddingUnit::first_row() const {
  return tp_box(params_[0], region_.split() ? region_.rank() : 0, region_.split() ? region_.size() : 1)
      .offset[0];
}

double EmbeddingUnit::scale_in(at::ScalarType dtype) const {
  return at::scalar_tensor(scale_, at::dtype(dtype)).item().toDouble();
}

at::Tensor EmbeddingUnit::forward(const at::Tensor& /*input*/, const Microbatch& mb, Saved& saved,
                                  Recompute recompute) {
  saved.set_recompute(recompute);
  // Tokens of other ranks' rows give zero rows, so that the ranks' sum is the embedding.
  const at::Tensor rows =
      region_.leave(kernels::embedding(weights_[0], mb.batch->tokens, first_row(), vocab_));
  if (scale_ != 1) kernels::scale(rows, scale_in(rows.scalar_type()));
  return rows;
}

at::Tensor EmbeddingUnit::backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& /*saved*/,
                                   WeightGrads& grads) {
  at::Tensor inside = region_.start_leave_backward(grad_output, mb.batch->tokens_count()).wait();
  if (scale_ != 1) {
    inside = inside.clone();
    kernels::scale(inside, scale_in(inside.scalar_type()));
  }
  const int64_t first = first_row();
  const at::Tensor& tokens = mb.batch->tokens;
  grads.add_rows(0, first == 0 ? tokens : tokens.sub(first), inside);
  return {};
}

}  // namespace tessera
