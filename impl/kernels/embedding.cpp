// Embedding gather and the ordered accumulation of its gradient.
#include "kernels/embedding.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace tessera::kernels {

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens, int64_t vocab_begin,
                     int64_t vocab_size) {
  TESSERA_CHECK(weight.dim() == 2 && tokens.dim() == 1 && tokens.scalar_type() == at::kLong, argument,
                "embedding: weight ", weight.sizes(), " and tokens ", tokens.sizes(),
                " must be [V, H] and int64 [T]");
  if (vocab_size < 0) vocab_size = weight.size(0);
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < tokens.numel(); ++i) {
    TESSERA_CHECK(token[i] >= 0 && token[i] < vocab_size, argument, "embedding: token ", token[i], " at ", i,
                  " is outside the vocabulary of ", vocab_size);
  }
  if (vocab_begin == 0 && weight.size(0) == vocab_size) return at::index_select(weight, 0, tokens);
  at::Tensor out = at::zeros({tokens.size(0), weight.size(1)}, weight.options());
  for (int64_t i = 0; i < tokens.numel(); ++i) {
    const int64_t row = token[i] - vocab_begin;
    if (row >= 0 && row < weight.size(0)) out.select(0, i).copy_(weight.select(0, row));
  }
  return out;
}

void embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, const at::Tensor& dy,
                        int64_t vocab_begin) {
  TESSERA_CHECK(
      grad.dim() == 2 && dy.dim() == 2 && dy.size(1) == grad.size(1) && dy.size(0) == tokens.numel(),
      argument, "embedding_backward: grad ", grad.sizes(), ", dy ", dy.sizes(), ", ", tokens.numel(),
      " tokens");
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  std::vector<int64_t> order(static_cast<size_t>(tokens.numel()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return token[a] < token[b]; });
  for (size_t i = 0; i < order.size();) {
    const int64_t t = token[order[i]];
    at::Tensor sum = dy.select(0, order[i]).to(at::kFloat, false, /*copy=*/true);
    for (++i; i < order.size() && token[order[i]] == t; ++i) sum.add_(dy.select(0, order[i]));
    const int64_t row = t - vocab_begin;
    if (row < 0 || row >= grad.size(0)) continue;
    at::Tensor target = grad.select(0, row);
    target.copy_(sum.add_(target));
  }
}

}  // namespace tessera::kernels
