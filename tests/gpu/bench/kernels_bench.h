// What gpu_kernels_bench times: two ways to do the same work, at the shapes of a Llama of 1.2 billion
// parameters.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

namespace tessera::bench {

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
inline const auto kBf16 = at::TensorOptions(at::kBFloat16).device(at::kCUDA);
inline const auto kF32 = at::TensorOptions(at::kFloat).device(at::kCUDA);
inline const auto kI64 = at::TensorOptions(at::kLong).device(at::kCUDA);

inline at::Tensor bf16(at::IntArrayRef sizes, double scale = 1.0) {
  return at::randn(sizes, kF32).mul_(scale).to(at::kBFloat16);
}

inline double bytes_of(std::initializer_list<int64_t> elements, double size) {
  double total = 0;
  for (int64_t n : elements) total += static_cast<double>(n);
  return total * size;
}

// ---- Kernels of layers, bound by memory (layers.cpp) ----

void add_norms(std::vector<Bench>& all);
void add_rope_and_mlp(std::vector<Bench>& all);
void add_loss(std::vector<Bench>& all);
void add_rows(std::vector<Bench>& all);

// ---- Matrix products, in float8 beside bfloat16, and attention (products.cpp) ----

void add_products(std::vector<Bench>& all);
void add_float8(std::vector<Bench>& all);
void add_attentions(std::vector<Bench>& all);

// ---- The optimizer's, over all parameters at once (parameters.cpp) ----

void add_parameters(std::vector<Bench>& all);

}  // namespace tessera::bench
