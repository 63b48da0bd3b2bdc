// Timed beside ATen: norms, rotary embedding, SwiGLU, the loss, and rows of the embedding.
#include "kernels_bench.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "core/error.h"
#include "kernels/activation.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

namespace tessera::bench {

void add_norms(std::vector<Bench>& all) {
  const int64_t n = kTokens * kHidden;
  all.push_back({"rms_norm", bytes_of({n, n}, 2), true, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHidden}), w = bf16({kHidden});
                   return {[=] { kernels::rms_norm(x, w, 1e-5); },
                           [=] { at::rms_norm(x, {kHidden}, w, 1e-5); }};
                 }});
  all.push_back({"add_rms_norm", bytes_of({n, n, n, n}, 2), true, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHidden}), r = bf16({kTokens, kHidden}),
                                    w = bf16({kHidden});
                   return {[=] { kernels::add_rms_norm(x, r, w, 1e-5); },
                           [=] { at::rms_norm(x + r, {kHidden}, w, 1e-5); }};
                 }});
  all.push_back({"rms_norm_backward with residual", bytes_of({n, n, n, n}, 2), true, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHidden}), dy = bf16({kTokens, kHidden}),
                                    dr = bf16({kTokens, kHidden}), w = bf16({kHidden});
                   const at::Tensor rstd = kernels::rms_norm(x, w, 1e-5).rstd;
                   return {[=] { kernels::rms_norm_backward(dy, x, w, rstd, dr); },
                           [=] {
                             const at::Tensor hat = x.to(at::kFloat) * rstd.unsqueeze(1), g = dy * w;
                             const at::Tensor dw = (dy * hat).sum(0);
                             ((g - hat * (g * hat).mean(-1, true)) * rstd.unsqueeze(1)).to(at::kBFloat16) +
                                 dr;
                           }};
                 }});
  const int64_t q = kTokens * kHeads * kHeadDim;
  all.push_back({"rms_norm of heads (64)", bytes_of({q, q}, 2), true, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHeads, kHeadDim}), w = bf16({kHeadDim});
                   return {[=] { kernels::rms_norm(x, w, 1e-5); },
                           [=] { at::rms_norm(x, {kHeadDim}, w, 1e-5); }};
                 }});
  all.push_back({"rms_norm_backward of heads (64)", bytes_of({q, q, q}, 2), true, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHeads, kHeadDim}), w = bf16({kHeadDim});
                   const at::Tensor rstd = kernels::rms_norm(x, w, 1e-5).rstd;
                   return {[=] { kernels::rms_norm_backward(x, x, w, rstd); }, {}};
                 }});
}

void add_rope_and_mlp(std::vector<Bench>& all) {
  const int64_t q = kTokens * kHeads * kHeadDim, f = kTokens * kInner;
  all.push_back({"rope in place", bytes_of({q, q}, 2), true, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHeads, kHeadDim});
                   const kernels::RopeTable table = kernels::make_rope_table(4096, kHeadDim, 5e5);
                   const kernels::RopeTable there{table.cos.to(at::kCUDA), table.sin.to(at::kCUDA)};
                   const at::Tensor positions = at::randint(4096, {kTokens}, kI64);
                   return {[=] { kernels::rope(x, x, there, positions); },
                           [=] {
                             const at::Tensor c = there.cos.index_select(0, positions).unsqueeze(1),
                                              s = there.sin.index_select(0, positions).unsqueeze(1);
                             const at::Tensor a = x.narrow(2, 0, 32), b = x.narrow(2, 32, 32);
                             at::cat({a * c - b * s, b * c + a * s}, 2).to(at::kBFloat16);
                           }};
                 }});
  all.push_back({"swiglu", bytes_of({f, f, f}, 2), true, [=]() -> Pair {
                   const at::Tensor gu = bf16({kTokens, 2 * kInner});
                   const at::Tensor g = gu.narrow(1, 0, kInner), u = gu.narrow(1, kInner, kInner);
                   return {[=] { kernels::swiglu(g, u); }, [=] { at::silu(g) * u; }};
                 }});
  all.push_back({"swiglu_backward with y", bytes_of({f, f, f, f, f, f}, 2), true, [=]() -> Pair {
                   const at::Tensor g = bf16({kTokens, kInner}), u = bf16({kTokens, kInner}),
                                    dy = bf16({kTokens, kInner});
                   return {[=] { kernels::swiglu_backward(dy, g, u, true); },
                           [=] {
                             const at::Tensor s = at::sigmoid(g), silu = g * s;
                             const at::Tensor dg = dy * u * (s * (1 + g * (1 - s))), du = dy * silu,
                                              y = silu * u;
                           }};
                 }});
}

void add_loss(std::vector<Bench>& all) {
  const int64_t rows = 2048, n = rows * kVocab;
  const auto logits = [=] { return bf16({rows, kVocab}); };
  const auto labels = [=] { return at::randint(kVocab, {rows}, kI64); };
  all.push_back(
      {"cross_entropy of 2048 rows, loss and gradient", bytes_of({n, n, n}, 2), true, [=]() -> Pair {
         const at::Tensor x = logits(), y = labels(), sum = at::zeros({1}, kF32.dtype(at::kDouble));
         return {[=] {
                   const double scale = 1.0;
                   kernels::add_cross_entropy(x, y, &scale, sum);
                 },
                 [=] {
                   const at::Tensor p = at::_log_softmax(x, 1, false);
                   p.exp().scatter_add_(1, y.unsqueeze(1), at::ones({rows, 1}, kBf16).neg());
                 }};
       }});
  all.push_back({"cross_entropy_stats of 2048 rows", bytes_of({n}, 2), true, [=]() -> Pair {
                   const at::Tensor x = logits(), y = labels();
                   return {[=] { kernels::cross_entropy_stats(x, y, 0); }, [=] { x.logsumexp(1); }};
                 }});
  all.push_back({"head: linear and loss and both gradients, 8192 rows in 4 chunks",
                 6.0 * 8192 * static_cast<double>(kVocab) * kHidden, false, [=]() -> Pair {
                   const at::Tensor x = bf16({8192, kHidden}), w = bf16({kVocab, kHidden}, 0.02),
                                    y = at::randint(kVocab, {8192}, kI64),
                                    dw = at::zeros({kVocab, kHidden}, kF32),
                                    dx = at::empty({8192, kHidden}, kBf16),
                                    sum = at::zeros({1}, kF32.dtype(at::kDouble));
                   return {[=] {
                             const double scale = 1e-4;
                             for (int64_t b = 0; b < 8192; b += 2048) {
                               const at::Tensor part = x.narrow(0, b, 2048), l = kernels::linear(part, w);
                               kernels::add_cross_entropy(l, y.narrow(0, b, 2048), &scale, sum);
                               dx.narrow(0, b, 2048).copy_(kernels::linear_grad_input(l, w));
                               kernels::linear_grad_weight(part, l, dw, b > 0);
                             }
                           },
                           {}};
                 }});
}

void add_rows(std::vector<Bench>& all) {
  const int64_t n = kTokens * kHidden;
  all.push_back({"embedding", bytes_of({n, n}, 2), true, [=]() -> Pair {
                   const at::Tensor w = bf16({kVocab, kHidden}), t = at::randint(kVocab, {kTokens}, kI64);
                   return {[=] { kernels::embedding(w, t); }, [=] { w.index_select(0, t); }};
                 }});
  all.push_back({"embedding_backward into float32", bytes_of({n, 4 * n}, 2), true, [=]() -> Pair {
                   const at::Tensor g = at::zeros({kVocab, kHidden}, kF32), dy = bf16({kTokens, kHidden});
                   // Squares of uniform numbers: few tokens are frequent, as in text.
                   const at::Tensor t =
                       at::randint(1 << 10, {kTokens}, kI64).square_().mul_(kVocab).div_(1 << 20, "floor");
                   return {[=] { kernels::embedding_backward(g, t, dy); },
                           [=] { at::Tensor(g).index_add_(0, t, dy.to(at::kFloat)); }};
                 }});
}

}  // namespace tessera::bench
