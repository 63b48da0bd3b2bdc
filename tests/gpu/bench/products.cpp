// Timed beside ATen, or cuDNN: matrix products, also in float8, and attention.
#include "kernels_bench.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/attention.h"
#include "kernels/cuda/attention_flash.h"
#include "kernels/float8.h"
#include "kernels/linear.h"

namespace tessera::bench {

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

namespace {

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

}  // namespace

void add_attentions(std::vector<Bench>& all) {
  std::vector<int64_t> packed;  // documents as short as those of an instruction dataset
  for (int64_t i = 0, left = kTokens; left > 0; ++i) {
    packed.push_back(std::min<int64_t>(left, 64 + i * 37 % 400));
    left -= packed.back();
  }
  for (int64_t d : {64, 128}) {
    add_attention(all, "4 x 4096", {4096, 4096, 4096, 4096}, d);
    add_attention(all, "packed", packed, d);
  }
}

}  // namespace tessera::bench
