// Rotary kernels against the CPU's loops.
#include "kernels/rope.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include "gpu_support.h"

namespace tessera::kernels {
namespace {

class RopeOn : public OnPlace {
 protected:
  RopeTable put_table(const RopeTable& table) const { return {put(table.cos), put(table.sin)}; }
};

TEST_P(RopeOn, MatchesTheCpuAndIsUndoneByTheInverse) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t d : {2, 20, 64, 128}) {
      for (int64_t heads : {1, 5, 32}) {
        const at::Tensor x = random_tensor({33, heads, d}, dtype, 1);
        const at::Tensor positions = random_integers(50, {33}, 2);
        const RopeTable table = make_rope_table(50, d, 10000.0);
        at::Tensor expected = at::empty_like(x);
        rope(x, expected, table, positions);
        const at::Tensor there = put(x);
        here([&] { rope(there, there, put_table(table), put(positions)); });
        expect_close(back(there), wide(expected), tolerance(dtype));
        here([&] { rope(there, there, put_table(table), put(positions), true); });
        expect_close(back(there), wide(x), 3 * tolerance(dtype));
      }
    }
  }
}

TEST_P(RopeOn, InPlaceOnASliceOfAFusedProjectionLeavesTheRestAlone) {
  const at::Tensor qkv = random_tensor({21, 3 * 64}, at::kBFloat16, 1),
                   positions = random_integers(30, {21}, 2);
  const RopeTable table = make_rope_table(30, 32, 10000.0);
  const at::Tensor expected = qkv.clone(), there = put(qkv);
  const at::Tensor k = expected.narrow(1, 64, 64).view({21, 2, 32}),
                   k_there = there.narrow(1, 64, 64).view({21, 2, 32});
  rope(k, k, table, positions);
  here([&] { rope(k_there, k_there, put_table(table), put(positions)); });
  expect_close(back(there), wide(expected), tolerance(at::kBFloat16));
  EXPECT_TRUE(same_bits(back(there).narrow(1, 0, 64), qkv.narrow(1, 0, 64)));
}

TEST_P(RopeOn, APositionOutsideTheTableGivesNan) {
  const at::Tensor x = at::ones({3, 2, 8});
  at::Tensor positions = at::zeros({3}, at::kLong);
  positions[1] = 4;
  const at::Tensor there = put(x);
  here([&] { rope(there, there, put_table(make_rope_table(4, 8, 10000.0)), put(positions)); });
  EXPECT_TRUE(back(there)[1].isnan().all().item<bool>());
  EXPECT_FALSE(back(there)[0].isnan().any().item<bool>() || back(there)[2].isnan().any().item<bool>());
}

TESSERA_ON_PLACES(RopeOn);

}  // namespace
}  // namespace tessera::kernels
