// Passes over flat memory as ATen operations.
#include "kernels/elementwise.h"

#include <ATen/ops/add.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>

#include "core/error.h"

namespace tessera::kernels {

void cast_copy(const at::Tensor& dst, const at::Tensor& src) {
  TESSERA_CHECK(dst.numel() == src.numel(), argument, "cast_copy: ", dst.numel(), " elements from ",
                src.numel());
  dst.copy_(src.view(dst.sizes()));
}

void add_to(const at::Tensor& dst, const at::Tensor& src) {
  TESSERA_CHECK(dst.numel() == src.numel(), argument, "add_to: ", dst.numel(), " elements from ",
                src.numel());
  dst.add_(src.view(dst.sizes()));
}

at::Tensor add(const at::Tensor& a, const at::Tensor& b) {
  TESSERA_CHECK(a.sizes() == b.sizes(), argument, "add: ", a.sizes(), " and ", b.sizes());
  return at::add(a, b);
}

void scale(const at::Tensor& t, double factor) {
  t.mul_(factor);
}

double sum_of_squares(const at::Tensor& t) {
  const at::Tensor wide = t.to(at::kDouble);
  return at::sum(at::mul(wide, wide)).item<double>();
}

bool all_finite(const at::Tensor& t) {
  return at::isfinite(t).all().item<bool>();
}

}  // namespace tessera::kernels
