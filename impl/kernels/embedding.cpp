// Embedding gather and the ordered accumulation of its gradient.
#include "kernels/embedding.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"

namespace tessera::kernels {
namespace {

void check_tokens(const at::Tensor& tokens) {
  TESSERA_CHECK(tokens.dim() == 1 && tokens.scalar_type() == at::kLong && tokens.is_contiguous(), argument,
                "embedding: tokens ", tokens.sizes(), " must be contiguous int64 [T]");
}

/// Positions of the tokens, grouped by token and in token order within a group; `starts` are the groups'
/// first positions in `order`, closed by its size.
struct Groups {
  std::vector<int64_t> order;
  std::vector<int64_t> starts;
};

Groups group_by_token(const int64_t* token, int64_t count) {
  Groups g;
  g.order.resize(static_cast<size_t>(count));
  std::iota(g.order.begin(), g.order.end(), 0);
  std::stable_sort(g.order.begin(), g.order.end(), [&](int64_t a, int64_t b) { return token[a] < token[b]; });
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    if (i == 0 || token[g.order[at]] != token[g.order[at - 1]]) g.starts.push_back(i);
  }
  g.starts.push_back(count);
  return g;
}

at::Tensor embedding_on(const CudaTable& table, const at::Tensor& weight, const at::Tensor& tokens,
                        int64_t vocab_begin, int64_t vocab_size) {
  const CudaCall call(table, weight);
  const at::Tensor dense = weight.contiguous();
  at::Tensor result = at::empty({tokens.size(0), weight.size(1)}, weight.options());
  call.check(table.embedding(in(dense), tokens.const_data_ptr<int64_t>(), out(result), tokens.numel(),
                             weight.size(1) * weight.element_size(), vocab_begin, weight.size(0), vocab_size,
                             call.stream()),
             "embedding");
  return result;
}

void embedding_backward_on(const CudaTable& table, const at::Tensor& grad, const at::Tensor& tokens,
                           const at::Tensor& dy, int64_t vocab_begin) {
  const CudaCall call(table, grad);
  const at::Tensor dense_dy = dy.contiguous();
  const auto [sorted, order] = at::sort(tokens, std::optional<bool>(true), /*dim=*/0);
  call.check(table.embedding_backward(cuda_type(grad), out(grad), cuda_type(dy), in(dense_dy),
                                      sorted.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>(),
                                      tokens.numel(), grad.size(1), vocab_begin, grad.size(0), call.stream()),
             "embedding_backward");
}

/// Tokens in a slice of the vocabulary.
struct Slice {
  at::Tensor rows;       ///< int64 [T], 0 for tokens of other slices
  at::Tensor elsewhere;  ///< bool [T]
};
Slice slice_of(const at::Tensor& tokens, int64_t begin, int64_t size) {
  const at::Tensor rows = tokens.sub(begin);
  const at::Tensor elsewhere = rows.lt(0).logical_or_(rows.ge(size));
  return {rows.masked_fill(elsewhere, 0), elsewhere};
}

}  // namespace

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens, int64_t vocab_begin,
                     int64_t vocab_size) {
  TESSERA_CHECK(weight.dim() == 2, argument, "embedding: weight is ", weight.sizes(), ", expected [V, H]");
  check_tokens(tokens);
  TESSERA_CHECK(weight.device() == tokens.device(), argument, "embedding: weight on ", weight.device(),
                ", tokens on ", tokens.device());
  if (vocab_size < 0) vocab_size = weight.size(0);
  if (const CudaTable* cuda = cuda_table({&weight, &tokens}); cuda && cuda_dtype(weight))
    return embedding_on(*cuda, weight, tokens, vocab_begin, vocab_size);
  if (!weight.device().is_cpu()) {
    if (vocab_begin == 0 && weight.size(0) == vocab_size) return at::index_select(weight, 0, tokens);
    const Slice slice = slice_of(tokens, vocab_begin, weight.size(0));
    if (weight.size(0) == 0) return at::zeros({tokens.size(0), weight.size(1)}, weight.options());
    return at::index_select(weight, 0, slice.rows).masked_fill_(slice.elsewhere.unsqueeze(1), 0);
  }
  const at::Tensor table = weight.contiguous();
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < tokens.numel(); ++i) {
    TESSERA_CHECK(token[i] >= 0 && token[i] < vocab_size, argument, "embedding: token ", token[i], " at ", i,
                  " is outside the vocabulary of ", vocab_size);
  }
  at::Tensor result = at::empty({tokens.size(0), weight.size(1)}, weight.options());
  const auto row_bytes = static_cast<size_t>(weight.size(1)) * weight.element_size();
  parallel(tokens.size(0), 2 * static_cast<int64_t>(row_bytes),
           [&, from = static_cast<const char*>(in(table)), to = static_cast<char*>(out(result))](int64_t b,
                                                                                                 int64_t e) {
             for (int64_t i = b; i < e; ++i) {
               const int64_t row = token[i] - vocab_begin;
               char* target = to + static_cast<size_t>(i) * row_bytes;
               if (row >= 0 && row < table.size(0)) {
                 std::memcpy(target, from + static_cast<size_t>(row) * row_bytes, row_bytes);
               } else {
                 std::memset(target, 0, row_bytes);
               }
             }
           });
  return result;
}

void embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, const at::Tensor& dy,
                        int64_t vocab_begin) {
  TESSERA_CHECK(
      grad.dim() == 2 && dy.dim() == 2 && dy.size(1) == grad.size(1) && dy.size(0) == tokens.numel(),
      argument, "embedding_backward: grad ", grad.sizes(), ", dy ", dy.sizes(), ", ", tokens.numel(),
      " tokens");
  check_tokens(tokens);
  TESSERA_CHECK(grad.is_contiguous(), argument, "embedding_backward: grad is not contiguous");
  TESSERA_CHECK(grad.device() == tokens.device(), argument, "embedding_backward: grad on ", grad.device(),
                ", tokens on ", tokens.device());
  if (const CudaTable* cuda = cuda_table({&grad, &tokens, &dy}); cuda && cuda_dtype(grad) && cuda_dtype(dy))
    return embedding_backward_on(*cuda, grad, tokens, dy, vocab_begin);
  if (!grad.device().is_cpu()) {
    if (grad.size(0) == 0) return;
    const Slice slice = slice_of(tokens, vocab_begin, grad.size(0));
    const at::Tensor rows = dy.to(at::kFloat).masked_fill(slice.elsewhere.unsqueeze(1), 0);
    const at::Tensor sums = at::zeros(grad.sizes(), grad.options().dtype(at::kFloat));
    grad.add_(sums.index_add_(0, slice.rows, rows));
    return;
  }
  TESSERA_CHECK(has_loops(dy) && has_loops(grad), unsupported, "embedding_backward: dy is ", dy.scalar_type(),
                " and grad ", grad.scalar_type(), " on ", grad.device(),
                ", float32 or bfloat16 needed, all on one device");
  const at::Tensor dense_dy = dy.contiguous();
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  const Groups groups = group_by_token(token, tokens.numel());
  const int64_t h = grad.size(1), dy_bytes = h * dy.element_size(), grad_bytes = h * grad.element_size();
  const CpuTable& table = cpu_table();
  const auto add_row = pick(table.add_row, dy);
  parallel(static_cast<int64_t>(groups.starts.size()) - 1, 4 * dy_bytes,
           [&, from = static_cast<const char*>(in(dense_dy)), to = static_cast<char*>(out(grad)),
            wide = grad.scalar_type() == at::kFloat](int64_t b, int64_t e) {
             std::vector<float> sum(static_cast<size_t>(h));
             for (int64_t g = b; g < e; ++g) {
               const int64_t first = groups.starts[static_cast<size_t>(g)];
               const int64_t last = groups.starts[static_cast<size_t>(g) + 1];
               const int64_t row = token[groups.order[static_cast<size_t>(first)]] - vocab_begin;
               if (row < 0 || row >= grad.size(0)) continue;
               for (int64_t i = first; i < last; ++i) {
                 add_row(from + groups.order[static_cast<size_t>(i)] * dy_bytes, sum.data(), h, i == first);
               }
               char* target = to + row * grad_bytes;
               if (wide) {
                 table.add.f32(target, sum.data(), target, 0, h);
               } else {
                 table.add_f32_to_bf16(target, sum.data(), 0, h);
               }
             }
           });
}

}  // namespace tessera::kernels
