// The last unit of a decoder.
#include "nn/head.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"

namespace tessera {

namespace {

constexpr int kNormWeight = 0;
constexpr int kProjection = 1;  // borrowed when tied
// Of one chunk of logits. Each chunk's product reads and writes the whole weight gradient, which on a GPU,
// where caches hold little of it, costs as much as the product itself below some 1,000 rows.
constexpr int64_t kLogitsBytes = int64_t{64} << 20;
constexpr int64_t kDeviceLogitsBytes = int64_t{1} << 30;
constexpr int64_t kFewestRows = 128;

}  // namespace

int64_t loss_chunk_rows(int64_t rows, int64_t row_bytes, bool on_device) {
  const int64_t most = std::max(kFewestRows, (on_device ? kDeviceLogitsBytes : kLogitsBytes) / row_bytes);
  if (!on_device || rows <= most) return most;
  // Chunks alike, so that none is a small rest, of whole tiles of a matrix product.
  const int64_t chunks = (rows + most - 1) / most;
  const int64_t even = (rows + chunks - 1) / chunks;
  return std::min(most, (even + kFewestRows - 1) / kFewestRows * kFewestRows);
}

DecoderHead::DecoderHead(const std::string& norm_prefix, const std::string& projection_prefix,
                         const HeadSpec& spec)
    : HeadUnit("lm_head"),
      vocab_(spec.vocab),
      region_(spec.region),
      soft_cap_(spec.soft_cap),
      norm_(norm_prefix, spec.hidden, spec.norm_eps, params_, spec.region.sequence_parallel(),
            spec.norm_gain) {
  if (spec.projection == HeadSpec::Projection::borrowed) {
    borrowed_.push_back({0, 0});
    return;
  }
  ParamSpec projection;
  projection.name = projection_prefix + ".weight";
  projection.shape = {spec.vocab, spec.hidden};
  projection.init = {Init::Kind::normal, spec.init_std};
  if (spec.region.split()) projection.tp = Placement::shard(0);
  if (spec.projection == HeadSpec::Projection::copied) {
    projection.stage_copies = 2;
    projection.primary = false;
  }
  params_.push_back(std::move(projection));
}

int64_t DecoderHead::chunk_rows(const at::Tensor& normed, const Microbatch& mb) const {
  if (mb.loss_chunk > 0) return mb.loss_chunk;
  // Enough rows to keep the GEMMs efficient, few enough to keep logits small beside the activations. All
  // ranks cut alike, whatever their share of the vocabulary.
  const int64_t entries = region_.split() ? (vocab_ + region_.size() - 1) / region_.size() : vocab_;
  return loss_chunk_rows(normed.size(0), entries * normed.element_size(), !normed.is_cpu());
}

// The first vocabulary entry of this rank (torch.chunk's rule, as in tp_box).
int64_t DecoderHead::first_entry() const {
  if (!region_.split()) return 0;
  return std::min(vocab_, (vocab_ + region_.size() - 1) / region_.size() * region_.rank());
}

// Rows without a label are left out of every GEMM, not masked afterwards. Under sequence parallelism they are
// known only after the norm, when all tokens are together.
DecoderHead::Normed DecoderHead::normalise(const at::Tensor& input, const at::Tensor& rows,
                                           int64_t tokens) const {
  const bool all = rows.size(0) == tokens;
  if (!region_.sequence_parallel()) {
    const at::Tensor x = all ? input : kernels::embedding(input, rows);
    const kernels::RmsNormResult normed = norm_.forward(weights_, x);
    return {x, normed.rstd, normed.y};
  }
  const kernels::RmsNormResult normed = norm_.forward(weights_, input);
  const at::Tensor y = region_.enter(normed.y, tokens);
  return {input, normed.rstd, all ? y : kernels::embedding(y, rows)};
}

at::Tensor DecoderHead::backward_norm(const at::Tensor& input, const at::Tensor& dy, const Normed& normed,
                                      const at::Tensor& rows, int64_t tokens, WeightGrads& grads) const {
  const bool all = rows.size(0) == tokens;
  if (region_.sequence_parallel()) {
    const at::Tensor whole =
        all ? dy : kernels::zeros({tokens, dy.size(1)}, dy.options()).index_copy_(0, rows, dy);
    const at::Tensor mine = region_.start_enter_backward(whole).wait();
    return norm_.backward(weights_, mine, normed.x, normed.rstd, {}, grads);
  }
  const at::Tensor sum = region_.start_enter_backward(dy).wait();
  const at::Tensor dx = norm_.backward(weights_, sum, normed.x, normed.rstd, {}, grads);
  return all ? dx : kernels::zeros(input.sizes(), input.options()).index_copy_(0, rows, dx);
}

void DecoderHead::add_chunk_loss(const at::Tensor& logits, const at::Tensor& targets,
                                 const double* grad_scale, const at::Tensor& loss_sum) const {
  kernels::soft_cap(logits, soft_cap_);
  if (!region_.split()) {
    return kernels::add_cross_entropy(logits, targets, grad_scale, loss_sum, soft_cap_);
  }
  const kernels::CrossEntropyStats own = kernels::cross_entropy_stats(logits, targets, first_entry());
  const at::Tensor max = own.max.clone();
  region_.all_reduce(max, ReduceOp::max);
  const at::Tensor sums = at::stack({own.sum.mul(own.max.sub(max).exp_()), own.target});
  region_.all_reduce(sums, ReduceOp::sum);
  const at::Tensor lse = sums.select(0, 0).log().add_(max);
  if (grad_scale) kernels::cross_entropy_grad(logits, targets, first_entry(), lse, *grad_scale, soft_cap_);
  loss_sum.add_(lse.sub(sums.select(0, 1)).sum(at::kDouble));
}

HeadUnit::LossResult DecoderHead::loss(const at::Tensor& input, const Microbatch& mb, WeightGrads* grads) {
  const at::Tensor labels = mb.batch->labels.contiguous();
  const int64_t tokens = labels.size(0);
  // What the batch says is not looked up on a device, which would have to be waited for.
  const bool on_host = labels.device().is_cpu();
  const int64_t count = on_host ? labels.ne(kIgnoredLabel).sum().item<int64_t>() : mb.batch->label_count;
  const auto [rows, targets] = kernels::labelled_rows(labels, count);
  const at::Tensor& projection = weights_[kProjection];

  const Normed normed = normalise(input, rows, tokens);
  LossResult result;
  const at::Tensor loss_sum = at::zeros({1}, input.options().dtype(at::kDouble));
  result.loss_sum = loss_sum;
  at::Tensor dnormed;
  if (grads) dnormed = at::empty_like(normed.y);
  const int64_t chunk = chunk_rows(normed.y, mb);
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const int64_t size = std::min(chunk, count - begin);
    const at::Tensor part = normed.y.narrow(0, begin, size);
    const at::Tensor logits = kernels::linear(part, projection);
    add_chunk_loss(logits, targets.narrow(0, begin, size), grads ? &mb.loss_scale : nullptr, loss_sum);
    if (!grads) continue;
    kernels::linear_grad_input_out(logits, projection, dnormed.narrow(0, begin, size));
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
  result.grad_input = backward_norm(input, dnormed, normed, rows, tokens, *grads);
  return result;
}

at::Tensor DecoderHead::logits(const at::Tensor& input, const at::Tensor& rows) {
  const at::Tensor whole = region_.enter(input, input.size(0) * region_.size());
  const at::Tensor normed = norm_.forward(weights_, whole.index_select(0, rows)).y;
  const at::Tensor own = kernels::linear(normed, weights_[kProjection]).to(at::kFloat);
  kernels::soft_cap(own, soft_cap_);
  if (!region_.split()) return own;
  // Ranks hold ceil(V / size) entries, the last ones fewer: transposed, the vocabulary is the rows.
  const int64_t entries = (vocab_ + region_.size() - 1) / region_.size();
  const at::Tensor mine = at::zeros({entries, own.size(0)}, own.options());
  mine.narrow(0, 0, own.size(1)).copy_(own.t());
  const at::Tensor all = at::empty({entries * region_.size(), own.size(0)}, own.options());
  region_.group()->all_gather({all}, {mine})->wait();
  return all.narrow(0, 0, vocab_).t().contiguous();
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
