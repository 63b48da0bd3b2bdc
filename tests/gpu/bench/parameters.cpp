// Timed beside ATen: what the optimizer does with all parameters at once.
#include "kernels_bench.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "kernels/multi_tensor.h"

namespace tessera::bench {

void add_parameters(std::vector<Bench>& all) {
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

}  // namespace tessera::bench
