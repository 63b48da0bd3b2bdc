// The products of a linear layer on the GPU, against float64 on the same rounded inputs.
#include "kernels/linear.h"

#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "core/error.h"
#include "gpu_support.h"

namespace tessera::kernels {
namespace {

class LinearOn : public OnPlace {};

TEST_P(LinearOn, ForwardAndInputGradientMatchFloat64) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = random_tensor({37, 64}, dtype, 1), w = random_tensor({96, 64}, dtype, 2),
                     b = random_tensor({96}, dtype, 3), dy = random_tensor({37, 96}, dtype, 4);
    const double tol =
        dtype == at::kFloat ? 2e-3 : 2 * tolerance(dtype);  // float32 may be TF32 by LibTorch's setting
    expect_close(back(linear(put(x), put(w), put(b))), at::matmul(wide(x), wide(w).t()) + wide(b), tol);
    expect_close(back(linear_grad_input(put(dy), put(w))), at::matmul(wide(dy), wide(w)), tol);
  }
}

// bfloat16 products into float32 targets are summed there by cuBLAS: far closer than a bfloat16 rounding.
TEST_P(LinearOn, WeightGradientsOverwriteOrAddInFloat32) {
  const at::Tensor x = random_tensor({513, 64}, at::kBFloat16, 1),
                   dy = random_tensor({513, 96}, at::kBFloat16, 2);
  const at::Tensor before = random_tensor({96, 64}, at::kFloat, 3), exact = at::matmul(wide(dy).t(), wide(x));
  const at::Tensor target = put(before);
  linear_grad_weight(put(x), put(dy), target, /*accumulate=*/true);
  expect_close(back(target), wide(before) + exact, 1e-5);
  target.fill_(std::numeric_limits<double>::quiet_NaN());
  linear_grad_weight(put(x), put(dy), target, /*accumulate=*/false);
  expect_close(back(target), exact, 1e-5);
  const at::Tensor narrow = put(at::zeros({96, 64}, at::kBFloat16));
  linear_grad_weight(put(x), put(dy), narrow, /*accumulate=*/false);
  expect_close(back(narrow), exact, tolerance(at::kBFloat16));
}

INSTANTIATE_TEST_SUITE_P(Gpu, LinearOn, ::testing::Values(Place::device), place_name);

}  // namespace
}  // namespace tessera::kernels
