// Gated activations against the CPU's loops and against ATen's gelu.
#include "kernels/activation.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>

#include "gpu_support.h"

namespace tessera::kernels {
namespace {

class GatedOn : public OnPlace {};

TEST_P(GatedOn, SwigluMatchesTheCpu) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t f : {1, 7, 64, 3000, 4096}) {
      SCOPED_TRACE(cat(dtype, " ", f));
      const at::Tensor fused = random_tensor({13, 2 * f}, dtype, 1, 3.0),
                       dy = random_tensor({13, f}, dtype, 2);
      const at::Tensor gate = fused.narrow(1, 0, f), up = fused.narrow(1, f, f), there = put(fused);
      const at::Tensor g = there.narrow(1, 0, f), u = there.narrow(1, f, f);
      expect_close(back(here([&] { return swiglu(g, u); })), wide(swiglu(gate, up)), tolerance(dtype));
      const SwigluGrads expected = swiglu_backward(dy, gate, up, true);
      const SwigluGrads got = here([&] { return swiglu_backward(put(dy), g, u, true); });
      expect_close(back(got.dgate), wide(expected.dgate), 2 * tolerance(dtype));
      expect_close(back(got.dup), wide(expected.dup), tolerance(dtype));
      expect_close(back(got.y), wide(expected.y), tolerance(dtype));
    }
  }
}

TEST_P(GatedOn, ClampedSwigluMatchesTheCpu) {
  const auto kind = Activation::clamped_silu;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t f : {1, 7, 64, 3000}) {
      SCOPED_TRACE(cat(dtype, " ", f));
      const at::Tensor fused = random_tensor({13, 2 * f}, dtype, 1, 6.0),
                       dy = random_tensor({13, f}, dtype, 2);
      const at::Tensor gate = fused.narrow(1, 0, f), up = fused.narrow(1, f, f), there = put(fused);
      const at::Tensor g = there.narrow(1, 0, f), u = there.narrow(1, f, f), d = put(dy);
      expect_close(back(here([&] { return gated(kind, g, u); })), wide(gated(kind, gate, up)),
                   tolerance(dtype));
      const at::Tensor dgate = at::empty_like(dy), dup = at::empty_like(dy), y = at::empty_like(dy);
      gated_backward_out(kind, dy, gate, up, dgate, dup, y);
      const at::Tensor dg = at::empty_like(d), du = at::empty_like(d), again = at::empty_like(d);
      here([&] { gated_backward_out(kind, d, g, u, dg, du, again); });
      expect_close(back(dg), wide(dgate), 2 * tolerance(dtype));
      expect_close(back(du), wide(dup), tolerance(dtype));
      expect_close(back(again), wide(y), tolerance(dtype));
    }
  }
}

TEST_P(GatedOn, BackwardMayOverwriteItsInputs) {
  const at::Tensor gate = random_tensor({5, 40}, at::kFloat, 1), up = random_tensor({5, 40}, at::kFloat, 2);
  const at::Tensor dy = random_tensor({5, 40}, at::kFloat, 3);
  const SwigluGrads expected = swiglu_backward(dy, gate, up);
  const at::Tensor g = put(gate), u = put(up);
  here([&] { swiglu_backward_out(put(dy), g, u, g, u, {}); });
  expect_close(back(g), wide(expected.dgate), 4e-6);
  expect_close(back(u), wide(expected.dup), 4e-6);
}

TEST_P(GatedOn, GeluMatchesAten) {
  const int64_t rows = 9, f = 200;
  for (const bool tanh : {false, true}) {
    const auto kind = tanh ? GatedActivation::gelu_tanh : GatedActivation::gelu_erf;
    const char* name = tanh ? "tanh" : "none";
    const at::Tensor gate = random_tensor({rows, f}, at::kFloat, 1, 2.0),
                     up = random_tensor({rows, f}, at::kFloat, 2);
    const at::Tensor dy = random_tensor({rows, f}, at::kFloat, 3);
    const at::Tensor g = put(gate), u = put(up), d = put(dy);
    const at::Tensor y = at::empty_like(g), dg = at::empty_like(g), du = at::empty_like(g),
                     again = at::empty_like(g);
    ASSERT_EQ(table().gated(CudaType::f32, kind, g.data_ptr(), f, u.data_ptr(), f, y.data_ptr(), f, rows, f,
                            stream()),
              0);
    ASSERT_EQ(
        table().gated_backward(CudaType::f32, kind, d.data_ptr(), f, g.data_ptr(), f, u.data_ptr(), f,
                               dg.data_ptr(), f, du.data_ptr(), f, again.data_ptr(), f, rows, f, stream()),
        0);
    const at::Tensor active = at::gelu(wide(gate), name);
    expect_close(back(y), active * wide(up), 4e-6);
    EXPECT_TRUE(same_bits(back(again), back(y)));
    expect_close(back(du), active * wide(dy), 4e-6);
    expect_close(back(dg), at::gelu_backward(wide(dy) * wide(up), wide(gate), name), 4e-6);
  }
}

TEST_P(GatedOn, SaturatesWithoutOverflow) {
  at::Tensor gate = at::ones({1, 2}).mul_(100);
  gate[0][0] = -1000.0;
  const at::Tensor y = back(here([&] { return swiglu(put(gate), put(at::ones({1, 2}))); }));
  EXPECT_EQ(y[0][0].item<float>(), 0);
  EXPECT_EQ(y[0][1].item<float>(), 100);
}

TESSERA_ON_PLACES(GatedOn);

}  // namespace
}  // namespace tessera::kernels
