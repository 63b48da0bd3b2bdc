// What kernel tests share: seeded inputs, float64 views of them, and comparisons with a tolerance per dtype.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace tessera::kernels {

inline at::Tensor random_tensor(at::IntArrayRef sizes, at::ScalarType dtype, uint64_t seed,
                                double scale = 1.0) {
  return at::randn(sizes, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat))
      .mul_(scale)
      .to(dtype);
}

inline at::Tensor wide(const at::Tensor& t) {
  return t.to(at::kDouble);
}

/// Relative error that `roundings` roundings to dtype can make, with room for float32 arithmetic before them.
inline double tolerance(at::ScalarType dtype, int roundings = 1) {
  return dtype == at::kBFloat16 ? roundings * 0x1p-8 : 2e-6;
}

/// |actual - expected| <= tol * (|expected| + scale of expected), element by element.
inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tol) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (actual.numel() == 0) return;
  const at::Tensor e = expected.to(at::kDouble), difference = (actual.to(at::kDouble) - e).abs();
  const double rms = e.square().mean().sqrt().item<double>();
  const double worst = (difference / (e.abs() + rms + 1e-30)).max().item<double>();
  EXPECT_LE(worst, tol);
  EXPECT_FALSE(actual.isnan().any().item<bool>());
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(a, b);
}

}  // namespace tessera::kernels
