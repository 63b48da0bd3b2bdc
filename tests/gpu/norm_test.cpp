// RMSNorm kernels against float64 and against the CPU's loops.
#include "kernels/norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "gpu_support.h"
#include "kernels/cuda/geometry.h"

namespace tessera::kernels {
namespace {

class NormOn : public OnPlace {
 protected:
  void matches(at::ScalarType dtype, int64_t rows, int64_t h) {
    SCOPED_TRACE(cat(dtype, " ", rows, " x ", h));
    const double eps = 1e-5;
    const at::Tensor x = random_tensor({rows, h}, dtype, 1, 3.0), w = random_tensor({h}, dtype, 2);
    const at::Tensor res = random_tensor({rows, h}, dtype, 3), dy = random_tensor({rows, h}, dtype, 4);
    const AddRmsNormResult expected = add_rms_norm(x, res, w, eps);
    const AddRmsNormResult sum = here([&] { return add_rms_norm(put(x), put(res), put(w), eps); });
    EXPECT_TRUE(same_bits(back(sum.sum), expected.sum));
    expect_close(back(sum.y), wide(expected.y), tolerance(dtype, 2));
    expect_close(back(sum.rstd), wide(expected.rstd), 1e-6);
    EXPECT_EQ(back(sum.y).scalar_type(), dtype);

    const RmsNormResult plain = here([&] { return rms_norm(put(x), put(w), eps); });
    expect_close(back(plain.y), wide(rms_norm(x, w, eps).y), tolerance(dtype, 2));

    const at::Tensor rstd = rms_norm(x, w, eps).rstd;
    const RmsNormGrads want = rms_norm_backward(dy, x, w, rstd, res);
    const RmsNormGrads got =
        here([&] { return rms_norm_backward(put(dy), put(x), put(w), put(rstd), put(res)); });
    expect_close(back(got.dx), wide(want.dx), tolerance(dtype));
    expect_close(back(got.dweight), wide(want.dweight), 4e-6, std::sqrt(static_cast<double>(rows)));
    const RmsNormGrads alone = here([&] { return rms_norm_backward(put(dy), put(x), put(w), put(rstd)); });
    expect_close(back(alone.dx), wide(rms_norm_backward(dy, x, w, rstd).dx), tolerance(dtype));
    EXPECT_TRUE(same_bits(back(alone.dweight), back(got.dweight)));
  }
};

// Widths for a warp a row, a block a row with one to four packs a thread, and rows that fit neither.
TEST_P(NormOn, MatchesTheCpuForwardAndBackward) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t h : {3, 64, 128, 1000, 1027, 2048, 5120}) matches(dtype, 7, h);
    for (int64_t h : {16384, 40000}) matches(dtype, 3, h);
    matches(dtype, 130, 96);
    matches(dtype, 1, 1024);
  }
}

TEST_P(NormOn, ManyRowsHaveManyPartsOfTheWeightGradient) {
  matches(at::kBFloat16, on_device() ? 20000 : 5000, 64);
  if (on_device()) matches(at::kBFloat16, 16384, 2048);
}

TEST_P(NormOn, NoRowsGiveAZeroWeightGradient) {
  const at::Tensor x = at::ones({0, 64}), w = at::ones({64});
  EXPECT_EQ(here([&] { return rms_norm(put(x), put(w), 1e-6); }).y.size(0), 0);
  const RmsNormGrads g = here([&] { return rms_norm_backward(put(x), put(x), put(w), put(at::ones({0}))); });
  EXPECT_TRUE(back(g.dweight).eq(0).all().item<bool>());
}

TEST_P(NormOn, ReadsStridedHeadsOfAFusedProjection) {
  for (int64_t offset : {64, 3}) {  // 3: heads that do not start at 16 bytes
    const at::Tensor qkv = random_tensor({9, 3 * 64}, at::kBFloat16, 1),
                     w = random_tensor({16}, at::kBFloat16, 2);
    const at::Tensor dy = random_tensor({9, 4, 16}, at::kBFloat16, 3);
    const at::Tensor q = qkv.narrow(1, offset, 64).view({9, 4, 16});
    const at::Tensor there = put(qkv).narrow(1, offset, 64).view({9, 4, 16});
    const RmsNormResult expected = rms_norm(q, w, 1e-6);
    const RmsNormResult got = here([&] { return rms_norm(there, put(w), 1e-6); });
    expect_close(back(got.y), wide(expected.y), tolerance(at::kBFloat16, 2));
    const at::Tensor dx =
        here([&] { return rms_norm_backward(put(dy), there, put(w), put(expected.rstd)); }).dx;
    expect_close(back(dx), wide(rms_norm_backward(dy, q, w, expected.rstd).dx), tolerance(at::kBFloat16));
  }
}

TEST_P(NormOn, TheGainMayBeOnePlusTheWeight) {
  const int64_t rows = 9;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t h : {96, 1027}) {  // in registers, and read twice
      const CudaType type = dtype == at::kFloat ? CudaType::f32 : CudaType::bf16;
      const at::Tensor x = random_tensor({rows, h}, dtype, 1), w = random_tensor({h}, dtype, 2),
                       dy = random_tensor({rows, h}, dtype, 3);
      const auto f32 = at::TensorOptions(at::kFloat);
      const at::Tensor xt = put(x), wt = put(w), dyt = put(dy), y = put(at::empty_like(x)),
                       dx = put(at::empty_like(x));
      const at::Tensor rstd = put(at::empty({rows}, f32)), dw = put(at::empty({h}, f32));
      const at::Tensor partial = put(at::empty({norm_partial_floats(rows, h)}, f32));
      const RowLayout layout{1, h, 0};
      ASSERT_EQ(table().rms_norm(type, xt.data_ptr(), layout, nullptr, wt.data_ptr(), nullptr, y.data_ptr(),
                                 rstd.data_ptr<float>(), rows, h, 1e-6f, true, stream()),
                0);
      ASSERT_EQ(
          table().rms_norm_backward(type, dyt.data_ptr(), xt.data_ptr(), layout, wt.data_ptr(),
                                    rstd.data_ptr<float>(), nullptr, dx.data_ptr(), dw.data_ptr<float>(),
                                    partial.data_ptr<float>(), rows, h, true, stream()),
          0);
      const at::Tensor r = (wide(x) * wide(x)).mean(-1, true).add(1e-6).rsqrt(), hat = wide(x) * r;
      const at::Tensor g = wide(dy) * (wide(w) + 1);
      expect_close(back(y), hat * (wide(w) + 1), tolerance(dtype));
      expect_close(back(dx), (g - hat * (g * hat).mean(-1, true)) * r, tolerance(dtype));
      expect_close(back(dw), (wide(dy) * hat).sum(0), 4e-6, 3.0);
    }
  }
}

TEST_P(NormOn, TwoRunsGiveTheSameBits) {
  const at::Tensor x = random_tensor({3000, 256}, at::kBFloat16, 1),
                   w = random_tensor({256}, at::kBFloat16, 2);
  const at::Tensor rstd = rms_norm(x, w, 1e-6).rstd;
  const auto run = [&] {
    return back(here([&] { return rms_norm_backward(put(x), put(x), put(w), put(rstd)); }).dweight);
  };
  EXPECT_TRUE(same_bits(run(), run()));
}

TESSERA_ON_PLACES(NormOn);

}  // namespace
}  // namespace tessera::kernels
