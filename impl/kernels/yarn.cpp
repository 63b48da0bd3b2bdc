// YaRN's frequencies and temperature.
#include "kernels/yarn.h"

#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/reciprocal.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace tessera::kernels {

at::Tensor yarn_frequencies(const at::Tensor& wavelengths, const RopeScaling& s, double theta) {
  const int64_t pairs = wavelengths.numel();
  const auto dim = static_cast<double>(2 * pairs);
  TESSERA_CHECK(theta > 1, argument, "rope scaling: yarn needs a theta above 1, not ", theta);
  TESSERA_CHECK(s.beta_fast > 0 && s.beta_slow > 0 && s.original_max_positions > 0, argument,
                "rope scaling: beta_fast ", s.beta_fast, ", beta_slow ", s.beta_slow,
                " and original_max_positions ", s.original_max_positions, " must be positive");
  // The index whose frequency turns so many times over the original positions.
  const auto index_of = [&](double turns) {
    const double position = static_cast<double>(s.original_max_positions) / (turns * 2 * M_PI);
    return dim * std::log(position) / (2 * std::log(theta));
  };
  double low = index_of(s.beta_fast), high = index_of(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const at::Tensor kept =
      at::arange(pairs, at::kFloat).sub_(low).div_(high - low).clamp_(0, 1).neg_().add_(1);
  const at::Tensor stretched = at::reciprocal(at::mul(wavelengths, s.factor));
  return at::add(at::mul(stretched, kept.neg().add_(1)), at::mul(at::reciprocal(wavelengths), kept));
}

double yarn_temperature(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1;
}

}  // namespace tessera::kernels
