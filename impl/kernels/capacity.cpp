// Selection within capacity, and weights whose sum survives it.
#include "kernels/capacity.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace tessera::kernels {
namespace {

// A token's sums of weights: of all, and of what it keeps.
struct Sums {
  float all = 0;
  float kept = 0;
};

Sums sums_of(const float* weights, const int64_t* kept, int64_t k) {
  Sums sums;
  for (int64_t j = 0; j < k; ++j) {
    sums.all += weights[j];
    if (kept[j] >= 0) sums.kept += weights[j];
  }
  return sums;
}

void check_pairs(const at::Tensor& weights, const at::Tensor& experts) {
  TESSERA_CHECK(weights.dim() == 2 && weights.sizes() == experts.sizes() &&
                    weights.scalar_type() == at::kFloat && experts.scalar_type() == at::kLong &&
                    weights.is_contiguous() && experts.is_contiguous() && weights.is_cpu() &&
                    experts.is_cpu(),
                argument, "capacity: weights ", weights.sizes(), " and experts ", experts.sizes(),
                " must be contiguous float32 and int64 [T, k] on the cpu");
}

// The same on a device, from ATen's operators. `sum`: what the kept weights add up to, 1 in place of 0.
struct Kept {
  at::Tensor weights, sum, scale;  ///< [T, k], [T, 1], [T, 1]
};
Kept kept_there(const at::Tensor& weights, const at::Tensor& kept) {
  Kept out;
  out.weights = weights.masked_fill(kept.lt(0), 0);
  const at::Tensor sum = out.weights.sum({1}, true);
  out.sum = sum.masked_fill(sum.eq(0), 1);
  out.scale = weights.sum({1}, true).div(out.sum).masked_fill(sum.eq(0), 0);
  return out;
}

at::Tensor rescale_there(const at::Tensor& weights, const at::Tensor& kept) {
  const Kept there = kept_there(weights, kept);
  return there.weights.mul(there.scale);
}

at::Tensor rescale_backward_there(const at::Tensor& gradient, const at::Tensor& weights,
                                  const at::Tensor& kept) {
  const Kept there = kept_there(weights, kept);
  const at::Tensor upper = gradient.masked_fill(kept.lt(0), 0);
  const at::Tensor mean = upper.mul(there.weights).sum({1}, true).div(there.sum);
  // Where nothing is kept mean and scale are 0; where nothing is dropped not a bit changes.
  const at::Tensor spread = upper.sub(mean).mul(there.scale).masked_fill(kept.lt(0), 0).add(mean);
  return at::where(kept.ge(0).all(1, true), upper, spread);
}

}  // namespace

int64_t expert_capacity(double factor, int64_t top_k, int64_t tokens, int64_t experts) {
  const double even = static_cast<double>(top_k) * static_cast<double>(tokens) / static_cast<double>(experts);
  const double most = std::ceil(factor * even);
  return most < static_cast<double>(tokens) ? static_cast<int64_t>(most) : tokens;  // a token comes once
}

at::Tensor within_capacity(const at::Tensor& experts, const at::Tensor& weights, int64_t count,
                           int64_t capacity) {
  check_pairs(weights, experts);
  const at::Tensor result = experts.clone();
  auto* kept = result.mutable_data_ptr<int64_t>();
  const float* weight = weights.const_data_ptr<float>();
  std::vector<std::vector<int64_t>> assigned(count);
  for (int64_t p = 0; p < experts.numel(); ++p) {
    if (kept[p] < 0) continue;
    TESSERA_CHECK(kept[p] < count, argument, "capacity: expert ", kept[p], " of ", count);
    assigned[kept[p]].push_back(p);
  }
  for (std::vector<int64_t>& pairs : assigned) {
    if (static_cast<int64_t>(pairs.size()) <= capacity) continue;
    const auto better = [&](int64_t a, int64_t b) {
      const bool number_a = !std::isnan(weight[a]), number_b = !std::isnan(weight[b]);
      if (number_a != number_b) return number_a;
      return number_a && weight[a] != weight[b] ? weight[a] > weight[b] : a < b;
    };
    std::nth_element(pairs.begin(), pairs.begin() + capacity, pairs.end(), better);
    for (auto pair = pairs.begin() + capacity; pair != pairs.end(); ++pair) kept[*pair] = -1;
  }
  return result;
}

at::Tensor rescale_kept(const at::Tensor& weights, const at::Tensor& kept) {
  if (!weights.is_cpu()) return rescale_there(weights, kept);
  check_pairs(weights, kept);
  const int64_t k = weights.size(1);
  at::Tensor result = at::empty_like(weights);
  const float* weight = weights.const_data_ptr<float>();
  const int64_t* expert = kept.const_data_ptr<int64_t>();
  auto* out = result.mutable_data_ptr<float>();
  for (int64_t t = 0; t < weights.size(0); ++t, weight += k, expert += k, out += k) {
    const Sums sums = sums_of(weight, expert, k);
    const float scale = sums.kept != 0 ? sums.all / sums.kept : 0;
    for (int64_t j = 0; j < k; ++j) out[j] = expert[j] >= 0 ? weight[j] * scale : 0;
  }
  return result;
}

// With S the sum of all weights of a token and K that of the kept ones, v_j = w_j S / K for the kept: dw_i =
// d + (S / K) (dv_i
// - d) where i is kept and d where not, with d = sum_j dv_j w_j / K.
at::Tensor rescale_kept_backward(const at::Tensor& gradient, const at::Tensor& weights,
                                 const at::Tensor& kept) {
  if (!weights.is_cpu()) return rescale_backward_there(gradient, weights, kept);
  check_pairs(weights, kept);
  check_pairs(gradient, kept);
  const int64_t k = weights.size(1);
  at::Tensor result = at::empty_like(weights);
  const float* upper = gradient.const_data_ptr<float>();
  const float* weight = weights.const_data_ptr<float>();
  const int64_t* expert = kept.const_data_ptr<int64_t>();
  auto* out = result.mutable_data_ptr<float>();
  for (int64_t t = 0; t < weights.size(0); ++t, upper += k, weight += k, expert += k, out += k) {
    const Sums sums = sums_of(weight, expert, k);
    if (sums.kept == 0) {
      std::fill_n(out, k, 0.0F);
      continue;
    }
    if (std::none_of(expert, expert + k, [](int64_t e) { return e < 0; })) {  // not a bit changes
      std::copy_n(upper, k, out);
      continue;
    }
    float mean = 0;
    for (int64_t j = 0; j < k; ++j) {
      if (expert[j] >= 0) mean += upper[j] * weight[j];
    }
    mean /= sums.kept;
    const float scale = sums.all / sums.kept;
    for (int64_t j = 0; j < k; ++j) out[j] = expert[j] >= 0 ? mean + scale * (upper[j] - mean) : mean;
  }
  return result;
}

}  // namespace tessera::kernels
