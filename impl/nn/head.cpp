// The last unit of a decoder.
#include "nn/head.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/cross_entropy.h"
#include "kernels/linear.h"

namespace tessera {

namespace {

constexpr int kNormWeight = 0;
constexpr int kProjection = 1;  // borrowed when tied
constexpr int64_t kLogitsBytes = int64_t{64} << 20;
constexpr int64_t kFewestRows = 128;

}  // namespace

DecoderHead::DecoderHead(const std::string& norm_prefix, const std::string& projection_prefix, int64_t vocab,
                         int64_t hidden, double norm_eps, double init_std, bool tied)
    : HeadUnit(projection_prefix), vocab_(vocab), norm_(norm_prefix, hidden, norm_eps, params_) {
  if (tied) {
    borrowed_.push_back({0, 0});
    return;
  }
  ParamSpec projection;
  projection.name = projection_prefix + ".weight";
  projection.shape = {vocab, hidden};
  projection.init = {Init::Kind::normal, init_std};
  projection.tp = Placement::shard(0);
  params_.push_back(std::move(projection));
}

int64_t DecoderHead::chunk_rows(const at::Tensor& normed, const Microbatch& mb) const {
  if (mb.loss_chunk > 0) return mb.loss_chunk;
  // Enough rows to keep the GEMMs efficient, few enough to keep logits small beside the activations.
  const int64_t row_bytes = vocab_ * normed.element_size();
  return std::max(kFewestRows, kLogitsBytes / row_bytes);
}

HeadUnit::LossResult DecoderHead::loss(const at::Tensor& input, const Microbatch& mb, WeightGrads* grads) {
  const at::Tensor& labels = mb.batch->labels;
  const at::Tensor rows = labels.ne(kIgnoredLabel).nonzero().squeeze(1);
  const int64_t count = rows.size(0);
  const bool all = count == input.size(0);
  // Rows without a label are left out of every GEMM, not masked afterwards.
  const at::Tensor x = all ? input : input.index_select(0, rows);
  const at::Tensor targets = all ? labels : labels.index_select(0, rows);
  const at::Tensor& projection = weights_[kProjection];

  const kernels::RmsNormResult normed = norm_.forward(weights_, x);
  LossResult result;
  at::Tensor dnormed;
  if (grads) dnormed = at::empty_like(normed.y);
  const int64_t chunk = chunk_rows(normed.y, mb);
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const int64_t size = std::min(chunk, count - begin);
    const at::Tensor part = normed.y.narrow(0, begin, size);
    const at::Tensor logits = kernels::linear(part, projection);
    result.loss_sum +=
        kernels::cross_entropy(logits, targets.narrow(0, begin, size), grads ? &mb.loss_scale : nullptr);
    if (!grads) continue;
    dnormed.narrow(0, begin, size).copy_(kernels::linear_grad_input(logits, projection));
    grads->linear(kProjection, part, logits);
  }
  if (!grads) return result;

  if (count == 0) {
    // Every weight gets a contribution, so that what the last step left in its target is overwritten.
    grads->linear(kProjection, normed.y, at::zeros({0, projection.size(0)}, input.options()));
    grads->add(kNormWeight, at::zeros_like(weights_[kNormWeight]));
    result.grad_input = at::zeros_like(input);
    return result;
  }
  const at::Tensor dx = norm_.backward(weights_, dnormed, x, normed.rstd, {}, *grads);
  result.grad_input = all ? dx : at::zeros_like(input).index_copy_(0, rows, dx);
  return result;
}

at::Tensor DecoderHead::logits(const at::Tensor& input, const at::Tensor& rows) {
  const at::Tensor normed = norm_.forward(weights_, input.index_select(0, rows)).y;
  return kernels::linear(normed, weights_[kProjection]).to(at::kFloat);
}

at::Tensor DecoderHead::forward(const at::Tensor& /*input*/, const Microbatch& /*mb*/, Saved& /*saved*/,
                                Recompute /*recompute*/) {
  throw Error(Code::internal, "the head unit runs through loss() and logits()");
}

at::Tensor DecoderHead::backward(const at::Tensor& /*grad_output*/, const Microbatch& /*mb*/,
                                 Saved& /*saved*/, WeightGrads& /*grads*/) {
  throw Error(Code::internal, "the head unit runs through loss() and logits()");
}

}  // namespace tessera
