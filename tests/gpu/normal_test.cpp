// Seeded normal values drawn by the kernel are those that a CPU draws, to the last bit, and those of the
// papers.
#include "kernels/normal.h"

#include <ATen/core/PhiloxRNGEngine.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "gpu_support.h"

namespace tessera::kernels {
namespace {

constexpr uint64_t kKey = 0x0123456789abcdefu;
constexpr float kStd = 0.02f;

at::Tensor by_cpu(int64_t row, int64_t rows, int64_t column, int64_t columns) {
  const at::Tensor out = at::empty({rows, columns}, at::dtype(at::kFloat));
  for (int64_t r = 0; r < rows; ++r) {
    normal_row(kKey, static_cast<uint64_t>(row + r), column, columns, kStd,
               out.mutable_data_ptr<float>() + r * columns);
  }
  return out;
}

class NormalOn : public OnPlace {};

TEST_P(NormalOn, DrawsTheBitsOfTheCpu) {
  struct Part {
    int64_t row, rows, column, columns;
  };
  for (const auto [row, rows, column, columns] :
       {Part{0, 3, 0, 1027}, Part{5, 2, 3, 9}, Part{int64_t{1} << 33, 1, 256, 4}, Part{0, 700, 0, 1},
        Part{2, 0, 0, 8}}) {
    const at::Tensor expected = by_cpu(row, rows, column, columns);
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor out =
          put(at::full({rows, columns}, std::numeric_limits<double>::quiet_NaN(), at::dtype(dtype)));
      EXPECT_TRUE(here([&] { return normal_on_device(out, kKey, row, rows, column, columns, kStd); }));
      EXPECT_TRUE(same_bits(back(out), expected.to(dtype)));
    }
  }
}

TEST_P(NormalOn, LeavesOtherDtypesToTheCaller) {
  const at::Tensor out = put(at::empty({4}, at::dtype(at::kDouble)));
  EXPECT_FALSE(here([&] { return normal_on_device(out, kKey, 0, 4, 0, 1, kStd); }));
}

TESSERA_ON_PLACES(NormalOn);

TEST(Normal, IsPhiloxMadeNormalByBoxAndMuller) {
  constexpr int64_t kColumns = 4000;
  const at::Tensor drawn = by_cpu(7, 1, 0, kColumns);
  double worst = 0;
  at::Philox4_32 stream(kKey, /*subsequence=*/7, /*offset=*/0);
  for (int64_t column = 0; column < kColumns; column += 2) {
    const double u = (static_cast<double>(stream()) + 1) / 4294967296.0;
    const double angle = 2 * std::numbers::pi * static_cast<double>(stream()) / 4294967296.0;
    const double radius = static_cast<double>(kStd) * std::sqrt(-2 * std::log(u));
    const float* pair = drawn.const_data_ptr<float>() + column;
    worst = std::max(
        {worst, std::abs(pair[0] - radius * std::cos(angle)), std::abs(pair[1] - radius * std::sin(angle))});
  }
  EXPECT_LT(worst, 2e-6 * static_cast<double>(kStd));
}

}  // namespace
}  // namespace tessera::kernels
