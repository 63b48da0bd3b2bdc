// What kernel tests share: seeded inputs, float64 views of them, comparisons with a tolerance per dtype, and
// running a body on every instruction set of the machine.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cpu/table.h"

namespace tessera::kernels {

inline at::Tensor random_tensor(at::IntArrayRef sizes, at::ScalarType dtype, uint64_t seed,
                                double scale = 1.0) {
  return at::randn(sizes, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat))
      .mul_(scale)
      .to(dtype);
}

inline at::Tensor random_integers(int64_t high, at::IntArrayRef sizes, uint64_t seed) {
  return at::randint(high, sizes, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kLong));
}

inline at::Tensor wide(const at::Tensor& t) {
  return t.to(at::kDouble, false, /*copy=*/true);
}

/// Relative error that `roundings` roundings to dtype can make, with room for float32 arithmetic before them.
inline double tolerance(at::ScalarType dtype, int roundings = 1) {
  return dtype == at::kBFloat16 ? roundings * 0x1p-8 : 2e-6;
}

/// |actual - expected| <= tol * (|expected| + rms of expected), element by element. `floor` stands in for an
/// rms below it: the size of the terms where the exact sum cancels.
inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tol,
                         double floor = 1e-30) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (actual.numel() == 0) return;
  const at::Tensor e = expected.to(at::kDouble), difference = (actual.to(at::kDouble) - e).abs();
  const double rms = e.square().mean().sqrt().item<double>();
  const double worst = (difference / (e.abs() + std::max(rms, floor))).max().item<double>();
  EXPECT_LE(worst, tol);
  EXPECT_FALSE(actual.isnan().any().item<bool>());
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(a, b);
}

/// Runs `body` with the loops of each instruction set that this machine has.
template <class Body>
void for_each_isa(const Body& body) {
  for (CpuIsa isa : {CpuIsa::portable, CpuIsa::avx2, CpuIsa::avx512}) {
    const CpuTable* table = cpu_table(isa);
    if (!table) continue;
    SCOPED_TRACE(table->name);
    const CpuIsaGuard guard(*table);
    body();
  }
}

/// The intra-op thread count of the calling thread while it lives.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_(at::get_num_threads()) { at::set_num_threads(threads); }
  ~ThreadsGuard() { at::set_num_threads(before_); }

 private:
  int before_;
};

}  // namespace tessera::kernels
