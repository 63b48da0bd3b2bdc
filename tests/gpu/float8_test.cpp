// Float8 kernels against the rule that ATen's operations give, to the last bit.
#include "kernels/float8.h"

#include <ATen/ops/_scaled_mm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "emulator.h"
#include "gpu_support.h"

namespace tessera::kernels {
namespace {

constexpr at::ScalarType kE4 = at::kFloat8_e4m3fn, kE5 = at::kFloat8_e5m2;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// The same float8 values bit by bit; NaN may have either sign.
void expect_same_values(const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  ASSERT_EQ(actual.scalar_type(), expected.scalar_type());
  const at::Tensor a = actual.cpu().contiguous(), b = expected.contiguous();
  const auto* left = static_cast<const uint8_t*>(a.const_data_ptr());
  const auto* right = static_cast<const uint8_t*>(b.const_data_ptr());
  const uint8_t infinity = expected.scalar_type() == kE4 ? 0x7e : 0x7c;
  const auto is_nan = [&](uint8_t bits) { return (bits & 0x7f) > infinity; };
  for (int64_t i = 0; i < a.numel(); ++i) {
    ASSERT_TRUE(left[i] == right[i] || (is_nan(left[i]) && is_nan(right[i])))
        << "element " << i << ": " << int{left[i]} << " for " << int{right[i]};
  }
}

void expect_same_scales(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor a = actual.cpu().contiguous().view({-1}), b = expected.contiguous().view({-1});
  ASSERT_EQ(a.numel(), b.numel());
  for (int64_t i = 0; i < a.numel(); ++i) {
    const float left = a.const_data_ptr<float>()[i], right = b.const_data_ptr<float>()[i];
    ASSERT_TRUE(left == right || (std::isnan(left) && std::isnan(right)))
        << "scale " << i << ": " << left << " for " << right;
  }
}

struct Case {
  const char* name;
  Float8Rule rule;
};
const std::vector<Case>& cases() {
  using A = Float8Axis;
  static const std::vector<Case> all = {{"tensorwise", {kE4, A::all, A::all, false}},
                                        {"gradient, tensorwise", {kE5, A::all, A::all, false}},
                                        {"rowwise", {kE4, A::row, A::column, true}},
                                        {"rowwise, any scale", {kE5, A::row, A::column, false}},
                                        {"weight, one scale backward", {kE4, A::row, A::all, true}}};
  return all;
}

class Float8On : public OnPlace {
 protected:
  /// Every form, asked for in either order, alone and together.
  void matches(const at::Tensor& x, const at::Tensor& there) {
    for (const auto& [name, rule] : cases()) {
      SCOPED_TRACE(cat(name, " ", x.scalar_type(), " ", x.sizes()));
      const Float8Matrix rows = to_float8(x, rule.dtype, rule.rows, rule.powers_of_two);
      const Float8Matrix columns = to_float8(x, rule.dtype, rule.transposed, rule.powers_of_two);
      for (const bool both : {false, true}) {
        for (const bool transposed_first : {false, true}) {
          Float8Casts casts(there, rule, both);
          Float8Matrix got_rows, got_transposed;
          here([&] {
            if (transposed_first) got_transposed = casts.transposed();
            got_rows = casts.rows();
            got_transposed = casts.transposed();
            return 0;
          });
          expect_same_values(got_rows.values, rows.values);
          expect_same_scales(got_rows.scale, rows.scale);
          expect_same_scales(got_transposed.scale, columns.scale);
          const int64_t height = x.size(0), padded = got_transposed.values.size(1);
          EXPECT_EQ(padded, (height + 15) / 16 * 16);
          const at::Tensor values = back(got_transposed.values);
          expect_same_values(values.narrow(1, 0, height), columns.values.t());
          EXPECT_EQ(values.view(at::kByte).narrow(1, height, padded - height).sum().item<int64_t>(), 0);
        }
      }
    }
  }
  void matches(const at::Tensor& x) { matches(x, put(x)); }
};

// Rows of a warp, of a block, and too long for registers; tiles that are full and cut on either side.
TEST_P(Float8On, EveryFormHasTheBitsOfTheRule) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [rows, columns] :
         {std::pair{1, 16}, {7, 3}, {16, 64}, {130, 72}, {128, 128}, {257, 200}, {33, 1027}, {5, 4096}}) {
      matches(random_tensor({rows, columns}, dtype, static_cast<unsigned>(rows + columns), 3.0));
    }
    matches(random_tensor({3, 8448}, dtype, 5));
    matches(random_tensor({2, 16392}, dtype, 6));
  }
  if (on_device()) matches(random_tensor({4096, 2048}, at::kBFloat16, 7));
}

TEST_P(Float8On, ReadsSlicesThatDoNotStartAtAVector) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = random_tensor({70, 400}, dtype, 1), there = put(x);
    for (const auto& [first, columns] : {std::pair{0, 128}, {8, 128}, {3, 96}, {16, 97}}) {
      matches(x.narrow(1, first, columns), there.narrow(1, first, columns));
    }
    matches(x.narrow(1, 0, 64).t(), there.narrow(1, 0, 64).t());
  }
}

// Zeros, denormals, values that are rounded to even, cut, infinite or not numbers, each in one row alone.
TEST_P(Float8On, SpecialValuesAreTreatedByTheRule) {
  for (const int64_t columns : {40, 37}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      at::Tensor x = random_tensor({24, columns}, at::kFloat, 2);
      x.select(0, 0).zero_();
      x.select(0, 1).fill_(-0.0F);
      x.select(0, 2).mul_(1e-30);
      x.select(0, 3).mul_(std::numeric_limits<float>::denorm_min() * 100);
      x.select(0, 4).fill_(1e-12F);
      x.select(0, 5).mul_(3e38F);
      x.select(0, 6).copy_(at::arange(columns, at::kFloat).mul_(0.0625));
      matches(x.to(dtype));
      x.select(0, 7).select(0, 5).fill_(kInfinity);
      matches(x.to(dtype));
      x.select(0, 8).select(0, columns - 1).fill_(-kInfinity);
      x.select(0, 9).select(0, 0).fill_(kNan);
      x.select(0, 10).fill_(-kNan);
      matches(x.to(dtype));
    }
  }
}

TEST_P(Float8On, ScalesAreRoundedAsInFloat64) {
  // Rows of one value each: as many scales as there are random mantissas, in all binades.
  const int64_t rows = on_device() ? 200000 : 4000;
  at::Tensor x = random_tensor({rows, 8}, at::kFloat, 3).abs_().add_(1e-3);
  x.mul_(at::arange(rows, at::kFloat).remainder_(200).sub_(100).view({-1, 1}).exp2());
  for (const at::ScalarType dtype : {kE4, kE5}) {
    for (const bool powers : {false, true}) {
      Float8Casts casts(put(x), {dtype, Float8Axis::row, Float8Axis::all, powers});
      const Float8Matrix want = to_float8(x, dtype, Float8Axis::row, powers);
      here([&] { return casts.rows(); });
      expect_same_scales(casts.rows().scale, want.scale);
      expect_same_values(casts.rows().values, want.values);
    }
  }
}

TEST_P(Float8On, EveryValueOfAFormatIsTransposed) {
  for (const auto& [rows, columns] : {std::pair{48, 80}, {128, 64}, {17, 33}, {300, 96}}) {
    const at::Tensor bytes = at::arange(rows * columns).remainder_(256).to(at::kByte).view({rows, columns});
    Float8Casts casts({put(bytes).view(kE4), put(at::full({1, 1}, 0.5F))});
    const Float8Matrix got = here([&] { return casts.transposed(); });
    const at::Tensor values = back(got.values).view(at::kByte);
    EXPECT_TRUE(at::equal(values.narrow(1, 0, rows), bytes.t()));
    EXPECT_EQ(values.narrow(1, rows, values.size(1) - rows).sum().item<int64_t>(), 0);
  }
}

TEST_P(Float8On, MaximaOfManyBlocksAreOne) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = random_tensor({700, 2100}, dtype, 4), there = put(x);
    for (const bool by_column : {false, true}) {
      const at::Tensor amax = put(at::zeros({by_column ? 2100 : 1}, at::kFloat));
      ASSERT_EQ(table().float8_amax(dtype == at::kFloat ? CudaType::f32 : CudaType::bf16, there.data_ptr(),
                                    2100, 700, 2100, by_column, amax.data_ptr<float>(), stream()),
                0);
      const at::Tensor want = by_column ? x.abs().amax(0) : x.abs().max().view({1});
      EXPECT_TRUE(at::equal(back(amax), want.to(at::kFloat)));
    }
  }
}

TESSERA_ON_PLACES(Float8On);

TEST(Emulator, RoundsFloat8AsLibTorch) {
  // All float32 with 12 bits of mantissa between the smallest denormals of the formats and beyond their ends.
  for (const at::ScalarType dtype : {kE4, kE5}) {
    const float top = dtype == kE4 ? 448 : 57344;
    at::Tensor x = at::arange((127 - 20) * 4096, (127 + 17) * 4096, at::kInt).mul_(2048).view(at::kFloat);
    const at::Tensor clamped = x.clamp(-top, top).to(dtype);
    const auto* want = static_cast<const uint8_t*>(clamped.const_data_ptr());
    for (int64_t i = 0; i < x.numel(); ++i) {
      const float value = x.const_data_ptr<float>()[i];
      const uint8_t got =
          dtype == kE4 ? cuda::emulated_float8(value, 3, 7, top) : cuda::emulated_float8(value, 2, 15, top);
      ASSERT_EQ(got, want[i]) << value;
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
