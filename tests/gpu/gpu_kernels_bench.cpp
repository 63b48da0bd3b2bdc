// Times each CUDA kernel beside the composition of ATen operations that it replaces, at the shapes of a Llama
// of 1.2 billion parameters and 16384 tokens. Prints a table, and writes one JSON object per row to a file.
//
//     gpu_kernels_bench [--filter text] [--repeats n] [--json file]
//
// Ends with status 77 and a message where there is no GPU. Times are medians between device events; the first
// rows measure what the machine gives at best, a copy and a matrix product, and memory-bound rows say which
// part of the copy's bandwidth they reach.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "core/cuda_plugin.h"
#include "core/error.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/attention_flash.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/float8.h"
#include "kernels/linear.h"
#include "kernels/multi_tensor.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

namespace tessera {
namespace {

using Run = std::function<void()>;

/// Two ways to do the same work; `aten` may be empty.
struct Pair {
  Run ours, aten;
};
struct Bench {
  std::string name;
  double work;  ///< bytes or floating point operations per call
  bool memory;  ///< bytes
  std::function<Pair()> make;
};

constexpr int64_t kTokens = 16384, kHidden = 2048, kInner = 8192, kHeads = 32, kKvHeads = 8, kHeadDim = 64,
                  kVocab = 128256;
const auto kBf16 = at::TensorOptions(at::kBFloat16).device(at::kCUDA);
const auto kF32 = at::TensorOptions(at::kFloat).device(at::kCUDA);
const auto kI64 = at::TensorOptions(at::kLong).device(at::kCUDA);

at::Tensor bf16(at::IntArrayRef sizes, double scale = 1.0) {
  return at::randn(sizes, kF32).mul_(scale).to(at::kBFloat16);
}

double bytes_of(std::initializer_list<int64_t> elements, double size) {
  double total = 0;
  for (int64_t n : elements) total += static_cast<double>(n);
  return total * size;
}

/// Median milliseconds per call, between events on the device.
double median_ms(const Run& run, int repeats) {
  const c10::impl::VirtualGuardImpl device(at::kCUDA);
  const c10::Stream stream = device.getStream(c10::Device(at::kCUDA, 0));
  for (int i = 0; i < 3; ++i) run();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    c10::Event begin(at::kCUDA, c10::EventFlag::BACKEND_DEFAULT),
        end(at::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
    begin.record(stream);
    run();
    end.record(stream);
    end.synchronize();
    times.push_back(begin.elapsedTime(end));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

void add_ceilings(std::vector<Bench>& all) {
  const int64_t n = int64_t{1} << 30;
  all.push_back({"ceiling: copy 4 GiB", 8.0 * static_cast<double>(n), true, [=]() -> Pair {
                   const at::Tensor a = at::randn({n}, kF32), b = at::empty({n}, kF32);
                   return {[=] { b.copy_(a); }, {}};
                 }});
  all.push_back({"ceiling: matrix product 8192^3 bf16", 2.0 * 8192 * 8192 * 8192, false, [=]() -> Pair {
                   const at::Tensor a = bf16({8192, 8192}), b = bf16({8192, 8192}),
                                    c = at::empty({8192, 8192}, kBf16);
                   return {[=] {
                             at::Tensor out = c;
                             at::mm_out(out, a, b);
                           },
                           {}};
                 }});
}

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

void add_products(std::vector<Bench>& all) {
  const double flops = 2.0 * kTokens * kHidden * kInner;
  all.push_back({"linear 16384 x 2048 -> 8192", flops, false, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHidden}), w = bf16({kInner, kHidden}, 0.02);
                   return {[=] { kernels::linear(x, w); }, [=] { at::linear(x, w); }};
                 }});
  all.push_back({"linear_grad_weight into float32, added", flops, false, [=]() -> Pair {
                   const at::Tensor x = bf16({kTokens, kHidden}), dy = bf16({kTokens, kInner}),
                                    dw = at::zeros({kInner, kHidden}, kF32);
                   return {[=] { kernels::linear_grad_weight(x, dy, dw, true); },
                           [=] { at::Tensor(dw).add_(at::mm(dy.t(), x)); }};
                 }});
}

// Casts to float8 beside ATen's operations, then products beside those in bfloat16.
void add_float8(std::vector<Bench>& all) {
  using kernels::Float8Casts;
  using kernels::Float8Recipe;
  using kernels::Float8Role;
  const int64_t n = kTokens * kInner;
  const auto casts = [&all, n](const std::string& what, double bytes, Float8Recipe recipe, Float8Role role,
                               bool both) {
    all.push_back(
        {cat("float8 cast, ", what), bytes * static_cast<double>(n), true, [=]() -> Pair {
           const at::Tensor x = bf16({kTokens, kInner});
           const kernels::Float8Rule rule = float8_rule(recipe, role);
           return {[=] {
                     Float8Casts made(x, rule, both);
                     made.rows();
                     if (both) made.transposed();
                   },
                   [=] {
                     to_float8(x, rule.dtype, rule.rows, rule.powers_of_two);
                     if (both) {
                       to_float8(x, rule.dtype, rule.transposed, rule.powers_of_two).values.t().contiguous();
                     }
                   }};
         }});
  };
  casts("tensorwise, an input", 5, Float8Recipe::tensorwise, Float8Role::input, false);
  casts("tensorwise, a gradient in both layouts", 6, Float8Recipe::tensorwise, Float8Role::output_gradient,
        true);
  casts("rowwise, an input", 3, Float8Recipe::rowwise, Float8Role::input, false);
  casts("rowwise, a gradient in both layouts", 6, Float8Recipe::rowwise, Float8Role::output_gradient, true);
  const double flops = 2.0 * kTokens * kHidden * kInner;
  for (const auto& [name, recipe] :
       {std::pair{"tensorwise", Float8Recipe::tensorwise}, {"rowwise", Float8Recipe::rowwise}}) {
    for (const bool fast : {true, false}) {
      all.push_back({cat("float8 product, ", name, fast ? ", forward" : ", as gradients have it",
                         " (beside: bfloat16)"),
                     flops, false, [=, recipe = recipe]() -> Pair {
                       const at::Tensor x = bf16({kTokens, kHidden}), w = bf16({kInner, kHidden}, 0.02);
                       Float8Casts a(x, float8_rule(recipe, Float8Role::input)),
                           b(w, float8_rule(recipe, Float8Role::weight));
                       return {[=, left = a.rows(), right = b.rows()] {
                                 kernels::float8_mm(left, right, at::kBFloat16, fast);
                               },
                               [=] { at::linear(x, w); }};
                     }});
    }
    all.push_back({cat("float8 linear layer, ", name, ", three products with casts (beside: bfloat16)"),
                   3 * flops, false, [=, recipe = recipe]() -> Pair {
                     const at::Tensor x = bf16({kTokens, kHidden}), w = bf16({kInner, kHidden}, 0.02),
                                      dy = bf16({kTokens, kInner});
                     const auto kept =
                         std::make_shared<Float8Casts>(w, float8_rule(recipe, Float8Role::weight));
                     return {[=] {
                               Float8Casts in(x, float8_rule(recipe, Float8Role::input)),
                                   again(x, float8_rule(recipe, Float8Role::input)),
                                   out(dy, float8_rule(recipe, Float8Role::output_gradient), true);
                               kernels::float8_mm(in.rows(), kept->rows(), at::kBFloat16, true);
                               kernels::float8_mm(out.rows(), kept->transposed(), at::kBFloat16, false);
                               kernels::float8_mm(out.transposed(), again.transposed(), at::kBFloat16, false);
                             },
                             [=] {
                               at::linear(x, w);
                               at::mm(dy, w);
                               at::mm(dy.t(), x);
                             }};
                   }});
  }
}

void add_flat(std::vector<Bench>& all) {
  // The parameters of the model, layer by layer.
  std::vector<int64_t> lengths = {kVocab * kHidden, kHidden};
  for (int layer = 0; layer < 16; ++layer) {
    for (int64_t n : {kHidden * kHidden, kHidden * 512, kHidden * 512, kHidden * kHidden, kHidden * kInner,
                      kHidden * kInner, kHidden * kInner, kHidden, kHidden}) {
      lengths.push_back(n);
    }
  }
  int64_t total = 0;
  for (int64_t n : lengths) total += n;
  const auto tensors = [=](const at::TensorOptions& options) {
    std::vector<at::Tensor> list;
    for (int64_t n : lengths) list.push_back(at::randn({n}, kF32).mul_(0.01).to(options.dtype()));
    return list;
  };
  all.push_back({"gradient norm of 1.24e9 parameters", bytes_of({total}, 4), true, [=]() -> Pair {
                   std::vector<kernels::WeightedTensor> list;
                   for (const at::Tensor& t : tensors(kF32)) list.push_back({t, 1.0});
                   return {[=] { kernels::clip_scale(kernels::sum_of_squares(list), 1.0); },
                           [=] {
                             at::Tensor sum = at::zeros({1}, kF32);
                             for (const auto& t : list) sum.add_(t.tensor.square().sum());
                           }};
                 }});
  all.push_back(
      {"adamw of 1.24e9 parameters, bf16 copies, clip folded in", bytes_of({total}, 30), true, [=]() -> Pair {
         const auto p = tensors(kF32), g = tensors(kF32), m = tensors(kF32), copies = tensors(kBf16);
         std::vector<at::Tensor> v, steps;
         std::vector<kernels::AdamWTensors> list;
         for (size_t i = 0; i < p.size(); ++i) {
           v.push_back(at::ones_like(p[i]));
           steps.push_back(at::ones({}, kF32));
           list.push_back({p[i], g[i], m[i], v[i], copies[i], 0.99f});
         }
         const at::Tensor scale = at::ones({1}, kF32);
         const kernels::AdamWScalars s{0.9f, 0.95f, 0.1f, 0.05f, 1e-8f, 1, 1e-5f, 0.3f, 1.0f};
         return {[=] { kernels::adamw_all(list, s, scale); },
                 [=] {
                   at::_fused_adamw_(p, g, m, v, {}, steps, 1e-5, 0.9, 0.95, 0.1, 1e-8, false, false);
                   for (size_t i = 0; i < p.size(); ++i) copies[i].copy_(p[i]);
                 }};
       }});
  all.push_back(
      {"copy_all: float32 shards into a flat bf16 buffer", bytes_of({total}, 6), true, [=]() -> Pair {
         const auto list = tensors(kF32);
         const at::Tensor flat = at::empty({total}, kBf16);
         std::vector<at::Tensor> parts;
         int64_t at = 0;
         for (int64_t n : lengths) {
           parts.push_back(flat.narrow(0, at, n));
           at += n;
         }
         return {[=] { kernels::copy_all(parts, list); },
                 [=] {
                   for (size_t i = 0; i < list.size(); ++i) parts[i].copy_(list[i]);
                 }};
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

void add_attention(std::vector<Bench>& all, const std::string& what, const std::vector<int64_t>& documents,
                   int64_t d) {
  double flops = 0;  // causal: half of the scores
  std::vector<kernels::AttentionSpan> spans;
  int64_t at = 0;
  for (int64_t n : documents) {
    flops += 2.0 * static_cast<double>(n) * static_cast<double>(n) * kHeads * static_cast<double>(d);
    spans.push_back({at, n, at, n, 0});
    at += n;
  }
  const int64_t tokens = at;
  kernels::AttentionOptions options;
  options.scale = 1.0 / std::sqrt(static_cast<double>(d));
  const auto inputs = [=] {
    return std::vector<at::Tensor>{bf16({tokens, kHeads, d}), bf16({tokens, kKvHeads, d}),
                                   bf16({tokens, kKvHeads, d})};
  };
  // In the place of a peer: cuDNN's kernel, which takes documents of one length alone.
  const bool equal =
      std::all_of(documents.begin(), documents.end(), [&](int64_t n) { return n == documents[0]; });
  const std::string title =
      equal ? cat(what, ", heads of ", d, " (beside: cudnn)") : cat(what, ", heads of ", d);
  using kernels::VarlenEngine;
  all.push_back({cat("attention ", title), flops, false, [=]() -> Pair {
                   const auto x = inputs();
                   const auto run = [=](VarlenEngine engine) {
                     return [=] { kernels::attention_varlen(x[0], x[1], x[2], spans, options, engine); };
                   };
                   return {run(VarlenEngine::flash), equal ? Run(run(VarlenEngine::cudnn)) : Run()};
                 }});
  all.push_back(
      {cat("attention_backward ", title), 2.5 * flops, false, [=]() -> Pair {
         const auto x = inputs();
         const at::Tensor dout = bf16({tokens, kHeads, d});
         const auto r = kernels::attention_varlen(x[0], x[1], x[2], spans, options, VarlenEngine::flash);
         const auto run = [=](VarlenEngine engine) {
           return [=] {
             kernels::attention_varlen_backward(dout, x[0], x[1], x[2], r.out, r.lse, spans, options, engine);
           };
         };
         return {run(VarlenEngine::flash), equal ? Run(run(VarlenEngine::cudnn)) : Run()};
       }});
}

std::vector<Bench> all_benches() {
  std::vector<Bench> all;
  add_ceilings(all);
  add_norms(all);
  add_rope_and_mlp(all);
  add_loss(all);
  add_products(all);
  add_float8(all);
  add_flat(all);
  add_rows(all);
  std::vector<int64_t> packed;  // documents as short as those of an instruction dataset
  for (int64_t i = 0, left = kTokens; left > 0; ++i) {
    packed.push_back(std::min<int64_t>(left, 64 + i * 37 % 400));
    left -= packed.back();
  }
  for (int64_t d : {64, 128}) {
    add_attention(all, "4 x 4096", {4096, 4096, 4096, 4096}, d);
    add_attention(all, "packed", packed, d);
  }
  return all;
}

struct Row {
  std::string name, unit, aten_error;
  double ms = 0, rate = 0, share = 0, aten_ms = 0;
};

double timed(const Run& run, int repeats, std::string& error) {
  if (!run) return 0;
  try {
    return median_ms(run, repeats);
  } catch (const std::exception& e) {
    error = e.what();
    error = error.substr(0, error.find('\n'));
    return 0;
  }
}

void print(const Row& r, std::ostream& json) {
  std::cout << std::left << std::setw(66) << r.name << std::right << std::fixed << std::setprecision(3)
            << std::setw(9) << r.ms << " ms" << std::setprecision(1) << std::setw(9) << r.rate << " "
            << r.unit;
  if (r.share > 0) std::cout << std::setw(7) << 100 * r.share << " % of copy";
  if (r.aten_ms > 0) std::cout << std::setprecision(2) << std::setw(9) << r.aten_ms / r.ms << " x the other";
  if (!r.aten_error.empty()) std::cout << "  the other failed: " << r.aten_error;
  std::cout << std::endl;
  json << "{\"name\":\"" << r.name << "\",\"ms\":" << r.ms << ",\"rate\":" << r.rate << ",\"unit\":\""
       << r.unit << "\",\"share_of_copy\":" << r.share << ",\"other_ms\":" << r.aten_ms << "}\n"
       << std::flush;
}

int main_of(int argc, char** argv) {
  std::string filter, path;
  int repeats = 20;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--filter")) filter = argv[i + 1];
    if (!std::strcmp(argv[i], "--json")) path = argv[i + 1];
    if (!std::strcmp(argv[i], "--repeats")) repeats = std::max(1, std::atoi(argv[i + 1]));
  }
  const CudaPlugin* plugin = cuda_plugin();  // before the first tensor
  if (const std::string reason = cuda_unavailable_reason(); !reason.empty()) {
    std::cout << "no measurement: " << reason << std::endl;
    return 77;
  }
  char name[256] = "";
  int64_t total = 0, available = 0;
  plugin->device_info(0, name, sizeof name, &total, &available);
  std::cout << name << ", " << total / (int64_t{1} << 20) << " MiB, " << plugin->versions() << std::endl;
  std::ofstream file;
  if (!path.empty()) file.open(path);
  file << "{\"device\":\"" << name << "\",\"versions\":\"" << plugin->versions() << "\"}\n";
  const c10::InferenceMode no_graph;
  double copy_rate = 0;
  int failures = 0;
  for (const Bench& bench : all_benches()) {
    const bool ceiling = bench.name.starts_with("ceiling");
    if (!ceiling && bench.name.find(filter) == std::string::npos) continue;
    Row row;
    row.name = bench.name;
    std::string error;
    const Pair pair = bench.make();
    row.ms = timed(pair.ours, repeats, error);
    row.aten_ms = timed(pair.aten, repeats, row.aten_error);
    if (!error.empty()) {
      std::cout << bench.name << "  FAILED: " << error << std::endl;
      ++failures;
      continue;
    }
    row.unit = bench.memory ? "GB/s" : "TF/s";
    row.rate = bench.work / row.ms / (bench.memory ? 1e6 : 1e9);
    if (ceiling && bench.memory) copy_rate = row.rate;
    if (bench.memory && copy_rate > 0) row.share = row.rate / copy_rate;
    print(row, file);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  try {
    return tessera::main_of(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << e.what() << std::endl;
    return 1;
  }
}
