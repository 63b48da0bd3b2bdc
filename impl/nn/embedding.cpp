// The first unit of a decoder: token embedding.
#include "nn/embedding.h"

#include "kernels/embedding.h"

namespace tessera {

EmbeddingUnit::EmbeddingUnit(const std::string& prefix, int64_t vocab, int64_t hidden, double init_std)
    : Unit(prefix) {
  ParamSpec spec;
  spec.name = prefix + ".weight";
  spec.shape = {vocab, hidden};
  spec.init = {Init::Kind::normal, init_std};
  spec.tp = Placement::shard(0);
  params_.push_back(std::move(spec));
}

at::Tensor EmbeddingUnit::forward(const at::Tensor& /*input*/, const Microbatch& mb, Saved& saved,
                                  Recompute recompute) {
  saved.set_recompute(recompute);
  return kernels::embedding(weights_[0], mb.batch->tokens);
}

at::Tensor EmbeddingUnit::backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& /*saved*/,
                                   WeightGrads& grads) {
  grads.add_rows(0, mb.batch->tokens, grad_output);
  return {};
}

}  // namespace tessera
