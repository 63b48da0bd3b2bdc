// Passes over flat memory: values, edges and special numbers.
#include "kernels/elementwise.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

constexpr int64_t kLengths[] = {0, 1, 15, 16, 17, 63, 1000, 70'001};

TEST(Elementwise, CastsRoundLikeLibTorchForEveryBfloat16Tie) {
  // Every upper half with the low halves around a tie: zeros, denormals, infinities and NaNs included.
  std::vector<uint32_t> bits;
  for (uint32_t high = 0; high < 65536; ++high) {
    for (uint32_t low : {0x0000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) bits.push_back(high << 16 | low);
  }
  const at::Tensor x =
      at::from_blob(bits.data(), {static_cast<int64_t>(bits.size())}, at::TensorOptions(at::kFloat));
  const at::Tensor expected = x.to(at::kBFloat16);
  for_each_isa([&] {
    const at::Tensor actual = at::empty({x.numel()}, at::TensorOptions(at::kBFloat16));
    cast_copy(actual, x);
    EXPECT_TRUE(actual.isnan().eq(x.isnan()).all().item<bool>());
    const at::Tensor number = x.isnan().logical_not();
    EXPECT_TRUE(at::equal(actual.masked_select(number), expected.masked_select(number)));
    const at::Tensor back = at::empty({x.numel()}, at::TensorOptions(at::kFloat));
    cast_copy(back, expected);
    EXPECT_TRUE(at::equal(back.masked_select(number), expected.to(at::kFloat).masked_select(number)));
  });
}

TEST(Elementwise, AddsOfAllDtypePairs) {
  for_each_isa([] {
    for (int64_t n : kLengths) {
      for (at::ScalarType d : {at::kFloat, at::kBFloat16, at::kDouble}) {
        for (at::ScalarType s : {at::kFloat, at::kBFloat16}) {
          const at::Tensor dst = random_tensor({n}, d, 1), src = random_tensor({n}, s, 2), before = wide(dst);
          add_to(dst, src);
          expect_close(dst, before + wide(src), tolerance(d));
        }
      }
      const at::Tensor a = random_tensor({n}, at::kBFloat16, 1), b = random_tensor({n}, at::kBFloat16, 2);
      EXPECT_TRUE(same_bits(kernels::add(a, b), a + b));
    }
  });
}

TEST(Elementwise, Scales) {
  for_each_isa([] {
    for (int64_t n : kLengths) {
      for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
        const at::Tensor t = random_tensor({n}, dtype, 1), before = wide(t);
        scale(t, 0.3);
        expect_close(t, before * 0.3, tolerance(dtype));
      }
    }
  });
}

TEST(Elementwise, SumOfSquaresIsExactToDouble) {
  for_each_isa([] {
    for (int64_t n : kLengths) {
      for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
        const at::Tensor t = random_tensor({n}, dtype, 1, 100.0);
        const double expected = wide(t).square().sum().item<double>();
        EXPECT_NEAR(sum_of_squares(t), expected, 1e-13 * expected);
      }
    }
    EXPECT_TRUE(std::isinf(sum_of_squares(at::ones({20}) * std::numeric_limits<float>::infinity())));
    EXPECT_TRUE(std::isnan(sum_of_squares(at::ones({20}) * std::nanf(""))));
    EXPECT_EQ(sum_of_squares(at::ones({20}) * 1e30f), 20 * std::pow(static_cast<double>(1e30f), 2));
  });
}

TEST(Elementwise, SumOfSquaresDoesNotDependOnThreads) {
  const at::Tensor t = random_tensor({1'000'003}, at::kFloat, 1);
  double one, four;
  {
    ThreadsGuard threads(1);
    one = sum_of_squares(t);
  }
  {
    ThreadsGuard threads(4);
    four = sum_of_squares(t);
  }
  EXPECT_EQ(one, four);
}

TEST(Elementwise, FindsOneBadNumberAnywhere) {
  for_each_isa([] {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      for (int64_t n : {int64_t{1}, int64_t{17}, int64_t{5000}, int64_t{70'001}}) {
        at::Tensor t = at::ones({n}, dtype) * 3e38;
        EXPECT_TRUE(all_finite(t));
        for (double bad : {std::nan(""), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
          for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
            at::Tensor broken = t.clone();
            broken[at] = bad;
            EXPECT_FALSE(all_finite(broken)) << n << " " << at;
          }
        }
      }
    }
    EXPECT_TRUE(all_finite(at::empty({0})));
  });
}

TEST(Elementwise, RefusesLengthsThatDiffer) {
  EXPECT_THROW(cast_copy(at::ones({2}), at::ones({3})), Error);
  EXPECT_THROW(add_to(at::ones({2}), at::ones({3})), Error);
  EXPECT_THROW(kernels::add(at::ones({2}), at::ones({3})), Error);
}

}  // namespace
}  // namespace tessera::kernels
