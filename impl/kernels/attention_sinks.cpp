// Attention sinks. With L the log-sum-exp over keys and sink, the sink's probability is exp(sink - L) and its
// "value" is zero; so dP of the softmax's backward is zero there, and its score has the gradient
//     -exp(sink - L) * delta,    delta = dO . O,
// while the gradients of keys, queries and values keep their form.
#include <ATen/ops/empty.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/attention.h"
#include "kernels/cpu/parallel.h"

namespace tessera::kernels {
namespace {

/// t [T, H, d] of which a row of one head is dense.
bool rows_are_dense(const at::Tensor& t) {
  return t.stride(2) == 1 || t.size(2) == 1;
}

template <class T>
const T* row_of(const at::Tensor& t, int64_t token, int64_t head) {
  return t.const_data_ptr<T>() + token * t.stride(0) + head * t.stride(1);
}

/// One head's gradient, tokens in order.
template <class T>
double sink_grad_of(const at::Tensor& dout, const at::Tensor& out, const float* lse, double sink,
                    int64_t head) {
  constexpr int64_t kRows = 64;
  const auto& tiles = cpu_table().attention;
  const auto row_dots = sizeof(T) == 2 ? tiles.bf16.row_dots : tiles.f32.row_dots;
  float delta[kRows];
  double grad = 0;
  for (int64_t t = 0; t < out.size(0); t += kRows) {
    const int64_t n = std::min(kRows, out.size(0) - t);
    row_dots(row_of<T>(dout, t, head), dout.stride(0), row_of<T>(out, t, head), out.stride(0), delta, n,
             out.size(2));
    for (int64_t i = 0; i < n; ++i) {
      if (lse[t + i] == -std::numeric_limits<float>::infinity()) continue;
      grad -= std::exp(sink - static_cast<double>(lse[t + i])) * static_cast<double>(delta[i]);
    }
  }
  return grad;
}

}  // namespace

void attention_add_sinks(const AttentionResult& result, const at::Tensor& sinks) {
  TESSERA_CHECK(sinks.dim() == 1 && sinks.size(0) == result.lse.size(0), argument, "attention: sinks are ",
                sinks.sizes(), ", [", result.lse.size(0), "] expected");
  const at::Tensor column = sinks.to(at::kFloat).unsqueeze(1);
  const at::Tensor seen = result.lse.isneginf().logical_not_();
  const at::Tensor with = at::where(seen, at::logaddexp(result.lse, column), result.lse);
  const at::Tensor factor = result.lse.sub(with).exp_().masked_fill_(seen.logical_not(), 0);
  result.out.mul_(factor.t().unsqueeze(2));
  result.lse.copy_(with);
}

at::Tensor attention_sink_grad(const at::Tensor& dout, const at::Tensor& out, const at::Tensor& lse,
                               const at::Tensor& sinks) {
  const int64_t heads = out.size(1);
  TESSERA_CHECK(sinks.dim() == 1 && sinks.size(0) == heads, argument, "attention: sinks are ", sinks.sizes(),
                ", [", heads, "] expected");
  const at::Tensor wide = sinks.to(at::kFloat).contiguous();
  if (!have_loops({&dout, &out}) || !rows_are_dense(dout) || !rows_are_dense(out) || !lse.is_contiguous()) {
    const auto dtype = out.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor delta = dout.to(dtype).mul(out.to(dtype)).sum(2).t();
    const at::Tensor share = wide.unsqueeze(1).sub(lse).exp_().masked_fill_(lse.isneginf(), 0);
    return delta.mul(share).sum(1).neg_().to(at::kFloat);
  }
  const at::Tensor grad = at::empty({heads}, wide.options());
  float* target = grad.mutable_data_ptr<float>();
  const float* values = wide.const_data_ptr<float>();
  const float* all_lse = lse.const_data_ptr<float>();
  const int64_t tokens = out.size(0);
  parallel(heads, 2 * tokens * out.size(2) * out.element_size(), [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      const float* head_lse = all_lse + h * tokens;
      target[h] = static_cast<float>(
          out.scalar_type() == at::kFloat
              ? sink_grad_of<float>(dout, out, head_lse, static_cast<double>(values[h]), h)
              : sink_grad_of<at::BFloat16>(dout, out, head_lse, static_cast<double>(values[h]), h));
    }
  });
  return grad;
}

}  // namespace tessera::kernels
