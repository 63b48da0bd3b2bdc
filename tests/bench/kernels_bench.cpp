// Times each CPU kernel beside the composition of ATen operations that it replaces, on one thread and on four
// rank threads of one intra-op thread each, with LibTorch's allocator and with the caching one. Prints a
// table and one JSON line per row.
//
//     kernels_bench [filter] [repeats]
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/_log_softmax_backward_data.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/nll_loss_backward.h>
#include <ATen/ops/nll_loss_forward.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cpu/caching_allocator.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "optim/optimizer.h"

namespace tessera {
namespace {

using Run = std::function<void()>;

/// Two ways to do the same work on inputs of their own, and how much work it is.
struct Pair {
  Run ours, aten;
};
struct Bench {
  std::string name;
  double work;       ///< bytes or floating point operations per call
  const char* unit;  ///< GB/s or GF/s
  std::function<Pair()> make;
};

at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::randn(sizes, at::TensorOptions(at::kFloat)).to(dtype);
}

double seconds(const Run& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Milliseconds per call with `ranks` threads at it at once: the best of the repeats, each the slowest rank's
/// time.
double best_ms(const Bench& bench, bool ours, int ranks, int repeats) {
  std::vector<double> worst(static_cast<size_t>(repeats), 0.0);
  std::vector<std::vector<double>> times(static_cast<size_t>(ranks), worst);
  std::barrier start(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      const c10::InferenceMode no_graph;
      const Pair pair = bench.make();
      const Run& run = ours ? pair.ours : pair.aten;
      run();
      for (int i = 0; i < repeats; ++i) {
        start.arrive_and_wait();
        times[static_cast<size_t>(rank)][static_cast<size_t>(i)] = seconds(run);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const std::vector<double>& rank : times) {
    for (size_t i = 0; i < rank.size(); ++i) worst[i] = std::max(worst[i], rank[i]);
  }
  return 1e3 * *std::min_element(worst.begin(), worst.end());
}

std::string dtype_name(at::ScalarType t) {
  return t == at::kFloat ? "f32" : "bf16";
}
double size_of(at::ScalarType t) {
  return t == at::kFloat ? 4 : 2;
}

void add_norms(std::vector<Bench>& all, at::ScalarType t) {
  const int64_t rows = 4096, h = 2048;
  const double array = size_of(t) * static_cast<double>(rows * h);
  const auto aten_norm = [](const at::Tensor& x, const at::Tensor& w) {
    const at::Tensor x32 = x.to(at::kFloat);
    return w * (x32 * x32.square().mean(-1, true).add(1e-6).rsqrt()).to(x.scalar_type());
  };
  all.push_back({"rms_norm 4096x2048 " + dtype_name(t), 2 * array, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({rows, h}, t), w = random({h}, t);
                   return {[=] { kernels::rms_norm(x, w, 1e-6); }, [=] { aten_norm(x, w); }};
                 }});
  all.push_back({"add_rms_norm 4096x2048 " + dtype_name(t), 4 * array, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({rows, h}, t), r = random({rows, h}, t), w = random({h}, t);
                   return {[=] { kernels::add_rms_norm(x, r, w, 1e-6); }, [=] { aten_norm(x + r, w); }};
                 }});
  all.push_back({"rms_norm_backward 4096x2048 " + dtype_name(t), 4 * array, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({rows, h}, t), dy = random({rows, h}, t),
                                    dr = random({rows, h}, t);
                   const at::Tensor w = random({h}, t), rstd = kernels::rms_norm(x, w, 1e-6).rstd;
                   return {[=] { kernels::rms_norm_backward(dy, x, w, rstd, dr); },
                           [=] {
                             const at::Tensor hat = x.to(at::kFloat) * rstd.unsqueeze(1), g = dy * w;
                             const at::Tensor dw = (dy * hat).sum(0);
                             ((g - hat * (g * hat).mean(-1, true)) * rstd.unsqueeze(1)).to(t) + dr;
                           }};
                 }});
}

void add_elementwise(std::vector<Bench>& all, at::ScalarType t) {
  const int64_t rows = 2048, f = 4096, v = 32000, tokens = 1024;
  const double array = size_of(t) * static_cast<double>(rows * f);
  all.push_back({"swiglu 2048x4096 " + dtype_name(t), 3 * array, "GB/s", [=]() -> Pair {
                   const at::Tensor g = random({rows, f}, t), u = random({rows, f}, t);
                   return {[=] { kernels::swiglu(g, u); }, [=] { at::silu(g) * u; }};
                 }});
  all.push_back(
      {"swiglu_backward 2048x4096 " + dtype_name(t), 5 * array, "GB/s", [=]() -> Pair {
         const at::Tensor g = random({rows, f}, t), u = random({rows, f}, t), dy = random({rows, f}, t);
         return {[=] { kernels::swiglu_backward(dy, g, u); },
                 [=] { const at::Tensor du = dy * at::silu(g), dg = at::silu_backward(dy * u, g); }};
       }});
  all.push_back({"rope 2048x32x64 " + dtype_name(t), 2 * array / 2, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({rows, 32, 64}, t), p = at::randint(rows, {rows}, at::kLong);
                   const kernels::RopeTable table = kernels::make_rope_table(rows, 64, 10000);
                   const at::Tensor c =
                       at::cat({table.cos, table.cos}, 1).to(t).index_select(0, p).unsqueeze(1);
                   const at::Tensor s =
                       at::cat({table.sin, table.sin}, 1).to(t).index_select(0, p).unsqueeze(1);
                   return {[=] { kernels::rope(x, x, table, p); },
                           [=] { x* c + at::cat({x.narrow(2, 32, 32).neg(), x.narrow(2, 0, 32)}, 2) * s; }};
                 }});
  all.push_back({"cross_entropy fwd+bwd 1024x32000 " + dtype_name(t), 2 * size_of(t) * tokens * v, "GB/s",
                 [=]() -> Pair {
                   const at::Tensor logits = random({tokens, v}, t),
                                    labels = at::randint(v, {tokens}, at::kLong);
                   return {[=] {
                             const double scale = 1.0;
                             kernels::cross_entropy(logits, labels, &scale);
                           },
                           [=] {
                             const at::Tensor wide = logits.to(at::kFloat),
                                              logp = at::_log_softmax(wide, 1, false);
                             const auto [loss, weight] = at::nll_loss_forward(logp, labels, {}, 2, -100);
                             const at::Tensor d =
                                 at::nll_loss_backward(at::ones({}), logp, labels, {}, 2, -100, weight);
                             at::_log_softmax_backward_data(d, logp, 1, at::kFloat).to(t);
                           }};
                 }});
  all.push_back(
      {"embedding_backward 2048x1024 " + dtype_name(t), 2 * size_of(t) * 2048 * 1024, "GB/s", [=]() -> Pair {
         const at::Tensor g = at::zeros({v, 1024}, t), dy = random({2048, 1024}, t);
         const at::Tensor ids = at::randint(v, {2048}, at::kLong);
         return {[=] { kernels::embedding_backward(g, ids, dy); },
                 [=]() mutable { at::Tensor(g).index_add_(0, ids, dy); }};
       }});
}

void add_flat(std::vector<Bench>& all) {
  const int64_t n = 8 << 20;
  all.push_back({"sum_of_squares 8M f32", 4.0 * n, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({n}, at::kFloat);
                   return {[=] { kernels::sum_of_squares(x); }, [=] { x.norm().item<float>(); }};
                 }});
  all.push_back({"all_finite 8M bf16", 2.0 * n, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({n}, at::kBFloat16);
                   return {[=] { kernels::all_finite(x); }, [=] { x.isfinite().all().item<bool>(); }};
                 }});
  all.push_back({"cast f32->bf16 8M", 6.0 * n, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({n}, at::kFloat), y = at::zeros({n}, at::kBFloat16);
                   return {[=] { kernels::cast_copy(y, x); }, [=] { y.copy_(x); }};
                 }});
  all.push_back({"add bf16 into f32 8M", 10.0 * n, "GB/s", [=]() -> Pair {
                   const at::Tensor x = random({n}, at::kBFloat16), y = at::zeros({n});
                   return {[=] { kernels::add_to(y, x); }, [=] { y.add_(x); }};
                 }});
  all.push_back(
      {"adamw 8M f32 + bf16 copy", 30.0 * n, "GB/s", [=]() -> Pair {
         ParamShard shard{"w", random({n}, at::kFloat), random({n}, at::kFloat),
                          at::zeros({n}, at::kBFloat16)};
         auto shards = std::make_shared<std::vector<ParamShard>>(std::vector<ParamShard>{shard});
         std::shared_ptr<Optimizer> optimizer = make_optimizer({});
         const at::Tensor p = random({n}, at::kFloat), m = at::zeros({n}), v = at::zeros({n});
         const at::Tensor count = at::ones({}), copy = at::zeros({n}, at::kBFloat16);
         return {[=] { optimizer->step(*shards, 1e-4, 0.5, 1); },
                 [=] {
                   std::vector<at::Tensor> ps{p}, gs{shard.grad * 0.5}, ms{m}, vs{v}, none, counts{count};
                   at::_fused_adamw_(ps, gs, ms, vs, none, counts, 1e-4, 0.9, 0.95, 0.1, 1e-8, false, false);
                   copy.copy_(p);
                 }};
       }});
}

void add_linears(std::vector<Bench>& all, at::ScalarType t) {
  for (auto [tokens, in, out] :
       {std::array<int64_t, 3>{512, 768, 768}, {2048, 768, 2048}, {512, 768, 32000}}) {
    const std::string shape = cat(tokens, "x", in, "x", out, " ", dtype_name(t));
    const double work = 2.0 * static_cast<double>(tokens * in * out);
    all.push_back({"linear " + shape, work, "GF/s", [=]() -> Pair {
                     const at::Tensor x = random({tokens, in}, t), w = random({out, in}, t);
                     return {[=] { kernels::linear(x, w); }, [=] { at::linear(x, w); }};
                   }});
    all.push_back({"linear dx " + shape, work, "GF/s", [=]() -> Pair {
                     const at::Tensor dy = random({tokens, out}, t), w = random({out, in}, t);
                     return {[=] { kernels::linear_grad_input(dy, w); }, [=] { at::mm(dy, w); }};
                   }});
    all.push_back({"linear dw += " + shape, work, "GF/s", [=]() -> Pair {
                     const at::Tensor dy = random({tokens, out}, t), x = random({tokens, in}, t);
                     const at::Tensor dw = at::zeros({out, in}, t);
                     return {[=] { kernels::linear_grad_weight(x, dy, dw, true); },
                             [=] { dw.add_(at::mm(dy.t(), x)); }};
                   }});
  }
}

/// Causal attention does half the products; a window less. Backward does 2.5 times the forward's work.
void add_attention(std::vector<Bench>& all, at::ScalarType t, int64_t n, int64_t heads, int64_t kv, int64_t d,
                   int64_t document, int64_t window) {
  double pairs = 0;
  std::vector<kernels::AttentionSpan> spans;
  for (int64_t b = 0; b < n; b += document) {
    spans.push_back({b, document, b, document, 0});
    for (int64_t i = 0; i < document; ++i)
      pairs += static_cast<double>(window ? std::min(i + 1, window) : i + 1);
  }
  const double work = 4.0 * pairs * static_cast<double>(d * heads);
  const std::string shape = cat(n, "/", document, window ? cat(" w", window) : "", " h", heads, "/", kv, " d",
                                d, " ", dtype_name(t));
  const kernels::AttentionOptions options{.window = window};
  struct Inputs {
    at::Tensor q, k, v, dout;
  };
  const auto make = [=] {
    return Inputs{random({n, heads, d}, t), random({n, kv, d}, t), random({n, kv, d}, t),
                  random({n, heads, d}, t)};
  };
  const auto head_major = [](const at::Tensor& x, int64_t b, int64_t len) {
    return x.narrow(0, b, len).transpose(0, 1).unsqueeze(0);
  };
  const auto mask_of = [=]() -> std::optional<at::Tensor> {
    if (!window) return {};
    at::Tensor m = at::ones({document, document});
    return at::zeros({document, document}).masked_fill_(m.tril().triu(1 - window).eq(0), -INFINITY).to(t);
  };
  all.push_back({"attention " + shape, work, "GF/s", [=]() -> Pair {
                   const Inputs in = make();
                   const std::optional<at::Tensor> mask = mask_of();
                   return {[=] { kernels::attention(in.q, in.k, in.v, spans, options); },
                           [=] {
                             for (const auto& s : spans) {
                               at::_scaled_dot_product_flash_attention_for_cpu(
                                   head_major(in.q, s.q_begin, s.q_len), head_major(in.k, s.q_begin, s.q_len),
                                   head_major(in.v, s.q_begin, s.q_len), 0.0, !mask, mask);
                             }
                           }};
                 }});
  all.push_back(
      {"attention_backward " + shape, 2.5 * work, "GF/s", [=]() -> Pair {
         const Inputs in = make();
         const std::optional<at::Tensor> mask = mask_of();
         const kernels::AttentionResult r = kernels::attention(in.q, in.k, in.v, spans, options);
         return {
             [=] { kernels::attention_backward(in.dout, in.q, in.k, in.v, r.out, r.lse, spans, options); },
             [=] {
               for (const auto& s : spans) {
                 at::_scaled_dot_product_flash_attention_for_cpu_backward(
                     head_major(in.dout, s.q_begin, s.q_len), head_major(in.q, s.q_begin, s.q_len),
                     head_major(in.k, s.q_begin, s.q_len), head_major(in.v, s.q_begin, s.q_len),
                     head_major(r.out, s.q_begin, s.q_len),
                     r.lse.narrow(1, s.q_begin, s.q_len).unsqueeze(0).contiguous(), 0.0, !mask, mask);
               }
             }};
       }});
}

void report(const Bench& bench, int ranks, int repeats) {
  double ms[2][2];  // [allocator][ours]
  for (int caching = 0; caching < 2; ++caching) {
    if (caching) kernels::install_caching_allocator();
    for (int ours = 0; ours < 2; ++ours) ms[caching][ours] = best_ms(bench, ours == 1, ranks, repeats);
    if (caching) kernels::uninstall_caching_allocator();
  }
  const double rate = bench.work * ranks / (ms[1][1] * 1e6);
  std::printf("%-46s %d  aten %9.3f  caching %9.3f | ours %9.3f  caching %9.3f ms  %7.1f %s  %5.2fx %5.2fx\n",
              bench.name.c_str(), ranks, ms[0][0], ms[1][0], ms[0][1], ms[1][1], rate, bench.unit,
              ms[0][0] / ms[1][1], ms[1][0] / ms[1][1]);
  std::printf(
      "{\"bench\":\"%s\",\"ranks\":%d,\"aten_ms\":%.4f,\"aten_caching_ms\":%.4f,\"ours_ms\":%.4f,"
      "\"ours_caching_ms\":%.4f,\"rate\":%.2f,\"unit\":\"%s\"}\n",
      bench.name.c_str(), ranks, ms[0][0], ms[1][0], ms[0][1], ms[1][1], rate, bench.unit);
  std::fflush(stdout);
}

int run_all(const std::string& filter, int repeats) {
  std::vector<Bench> all;
  for (at::ScalarType t : {at::kFloat, at::kBFloat16}) {
    add_norms(all, t);
    add_elementwise(all, t);
    add_linears(all, t);
    add_attention(all, t, 512, 12, 4, 64, 512, 0);
    add_attention(all, t, 2048, 12, 4, 64, 2048, 0);
    add_attention(all, t, 2048, 8, 2, 128, 2048, 0);
    add_attention(all, t, 2048, 12, 4, 64, 128, 0);
    add_attention(all, t, 2048, 12, 4, 64, 2048, 256);
  }
  add_flat(all);
  for (const Bench& bench : all) {
    if (bench.name.find(filter) == std::string::npos) continue;
    for (int ranks : {1, 4}) report(bench, ranks, repeats);
  }
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  return tessera::run_all(argc > 1 ? argv[1] : "", argc > 2 ? std::max(1, std::atoi(argv[2])) : 15);
}
