// Sorting by expert, and the passes over rows around the experts' products.
#include "kernels/expert_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"

namespace tessera::kernels {
namespace {

constexpr int64_t kNowhere = std::numeric_limits<int64_t>::max();  // where a sort puts -1: behind all experts

template <class Function>
void by_float_type(at::ScalarType dtype, const char* name, const Function& function) {
  if (dtype == at::kFloat) return function(float{});
  if (dtype == at::kBFloat16) return function(at::BFloat16{});
  throw Error(Code::unsupported,
              cat(name, ": dtype ", c10::toString(dtype), " is neither float32 nor bfloat16"));
}

void check_rows(const at::Tensor& rows, const char* name) {
  TESSERA_CHECK(rows.dim() == 2 && rows.is_contiguous(), argument, name, ": ", rows.sizes(),
                " is not a contiguous matrix");
}

/// The counts of experts sorted in ascending order. Waits for the device.
ExpertCounts count_on_device(const at::Tensor& sorted, int64_t first, int64_t count, int64_t all) {
  const int64_t pairs = sorted.numel();
  at::Tensor bounds = at::searchsorted(sorted, at::arange(first, first + count + 1, sorted.options()));
  if (pairs > 0) bounds = at::cat({bounds, sorted.narrow(0, 0, 1), sorted.narrow(0, pairs - 1, 1)});
  const at::Tensor host = bounds.cpu();
  const int64_t* at = host.const_data_ptr<int64_t>();
  if (pairs > 0) {
    const int64_t least = at[count + 1], most = at[count + 2];
    TESSERA_CHECK(least >= 0 && (most < all || most == kNowhere), argument, "order_by_expert: expert ",
                  least < 0 ? least : most, " of ", all);
  }
  ExpertCounts result;
  result.before = at[0];
  for (int64_t e = 0; e < count; ++e) result.counts.push_back(at[e + 1] - at[e]);
  return result;
}

/// The same order by a sort on the device.
ExpertOrder order_on_device(const at::Tensor& experts, int64_t first, int64_t count, int64_t all,
                            const ExpertCounts* known) {
  const at::Tensor flat = experts.reshape({-1});
  const auto [sorted, order] =
      at::sort(flat.masked_fill(flat.eq(-1), kNowhere), std::optional<bool>(true), /*dim=*/0);
  ExpertCounts counted = known ? *known : count_on_device(sorted, first, count, all);
  ExpertOrder result;
  result.counts = std::move(counted.counts);
  result.before = counted.before;
  const int64_t rows = std::accumulate(result.counts.begin(), result.counts.end(), int64_t{0});
  result.choices = order.narrow(0, result.before, rows).clone();
  result.tokens = result.choices.div(experts.size(1), "floor");
  result.positions = at::full(experts.sizes(), -1, experts.options());
  result.positions.view({-1}).scatter_(0, result.choices, at::arange(rows, experts.options()));
  return result;
}

/// combine_rows from ATen's operators.
at::Tensor combine_composed(const at::Tensor& rows, const ExpertOrder& order, const at::Tensor& weights) {
  const int64_t tokens = order.positions.size(0), k = order.positions.size(1), width = rows.size(1);
  if (rows.size(0) == 0) return at::zeros({tokens, width}, rows.options());
  const at::Tensor flat = order.positions.view({-1});
  at::Tensor factor = flat.ge(0).to(at::kFloat);
  if (weights.defined()) factor = factor * weights.reshape({-1});
  const at::Tensor picked = rows.index_select(0, flat.clamp_min(0)).to(at::kFloat) * factor.unsqueeze(1);
  return at::sum(picked.view({tokens, k, width}), {1}).to(rows.scalar_type());
}

}  // namespace

ExpertOrder order_by_expert(const at::Tensor& experts, int64_t first, int64_t count, int64_t all,
                            const ExpertCounts* known) {
  TESSERA_CHECK(experts.dim() == 2 && experts.scalar_type() == at::kLong && experts.is_contiguous(), argument,
                "order_by_expert: experts ", experts.sizes(), " must be contiguous int64 [T, k]");
  TESSERA_CHECK(first >= 0 && count >= 0 && first + count <= all, argument, "order_by_expert: experts ",
                first, "..", first + count, " are not within ", all);
  if (!experts.is_cpu() || cuda_table({&experts})) return order_on_device(experts, first, count, all, known);
  const int64_t pairs = experts.numel();
  const int64_t k = experts.size(1);
  const int64_t* expert = experts.const_data_ptr<int64_t>();
  ExpertOrder order;
  order.counts.assign(count, 0);
  for (int64_t p = 0; p < pairs; ++p) {
    TESSERA_CHECK(expert[p] >= -1 && expert[p] < all, argument, "order_by_expert: expert ", expert[p], " of ",
                  all);
    if (expert[p] >= 0 && expert[p] < first) ++order.before;
    if (expert[p] >= first && expert[p] < first + count) ++order.counts[expert[p] - first];
  }
  // Counting sort: stable, so tokens rise within an expert.
  std::vector<int64_t> next(count, 0);
  for (int64_t e = 1; e < count; ++e) next[e] = next[e - 1] + order.counts[e - 1];
  const int64_t rows = count > 0 ? next.back() + order.counts.back() : 0;
  order.tokens = at::empty({rows}, experts.options());
  order.choices = at::empty({rows}, experts.options());
  order.positions = at::empty(experts.sizes(), experts.options());
  auto* tokens = order.tokens.mutable_data_ptr<int64_t>();
  auto* choices = order.choices.mutable_data_ptr<int64_t>();
  auto* positions = order.positions.mutable_data_ptr<int64_t>();
  for (int64_t p = 0; p < pairs; ++p) {
    const int64_t local = expert[p] - first;
    positions[p] = -1;
    if (local < 0 || local >= count) continue;
    const int64_t row = next[local]++;
    tokens[row] = p / k;
    choices[row] = p;
    positions[p] = row;
  }
  return order;
}

at::Tensor combine_rows(const at::Tensor& rows, const ExpertOrder& order, const at::Tensor& weights) {
  check_rows(rows, "combine_rows");
  TESSERA_CHECK(rows.size(0) == order.rows(), argument, "combine_rows: ", rows.size(0), " rows for ",
                order.rows(), " pairs");
  const int64_t tokens = order.positions.size(0);
  const int64_t k = order.positions.size(1);
  const int64_t width = rows.size(1);
  at::Tensor out = at::empty({tokens, width}, rows.options());
  if (const CudaTable* cuda = cuda_loops({&rows}); cuda && cuda_table({&rows, &order.positions, &weights})) {
    const CudaCall call(*cuda, rows);
    const at::Tensor dense = weights.defined() ? weights.contiguous() : weights;
    call.check(
        cuda->combine_rows(cuda_type(rows), in(rows), rows.size(0), order.positions.const_data_ptr<int64_t>(),
                           dense.defined() ? dense.const_data_ptr<float>() : nullptr, kernels::out(out),
                           tokens, k, width, call.stream()),
        "combine_rows");
    return out;
  }
  TESSERA_CHECK(
      rows.device() == order.positions.device() && (!weights.defined() || weights.device() == rows.device()),
      argument, "combine_rows: rows, positions and weights are on different devices");
  if (!rows.is_cpu()) return combine_composed(rows, order, weights);
  const int64_t* positions = order.positions.const_data_ptr<int64_t>();
  const float* weight = weights.defined() ? weights.const_data_ptr<float>() : nullptr;
  by_float_type(rows.scalar_type(), "combine_rows", [&](auto type) {
    using T = decltype(type);
    const T* source = rows.const_data_ptr<T>();
    T* target = out.mutable_data_ptr<T>();
    parallel(tokens, k * width * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
      std::vector<float> sum(width);
      for (int64_t t = begin; t < end; ++t) {
        std::fill(sum.begin(), sum.end(), 0.0F);
        for (int64_t j = 0; j < k; ++j) {
          const int64_t row = positions[t * k + j];
          if (row < 0) continue;
          const float factor = weight ? weight[t * k + j] : 1.0F;
          const T* from = source + row * width;
          for (int64_t h = 0; h < width; ++h) sum[h] += factor * static_cast<float>(from[h]);
        }
        for (int64_t h = 0; h < width; ++h) target[t * width + h] = static_cast<T>(sum[h]);
      }
    });
  });
  return out;
}

at::Tensor row_dots(const at::Tensor& a, const at::Tensor& b) {
  check_rows(a, "row_dots");
  check_rows(b, "row_dots");
  TESSERA_CHECK(a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type(), argument,
                "row_dots: ", a.sizes(), " and ", b.sizes(), " differ");
  TESSERA_CHECK(a.device() == b.device(), argument, "row_dots: rows on ", a.device(), " and ", b.device());
  const int64_t width = a.size(1);
  at::Tensor dots = at::empty({a.size(0)}, a.options().dtype(at::kFloat));
  auto* out = dots.mutable_data_ptr<float>();
  if (const CudaTable* cuda = cuda_loops({&a, &b})) {
    const CudaCall call(*cuda, a);
    call.check(cuda->row_dots(cuda_type(a), in(a), in(b), out, a.size(0), width, call.stream()), "row_dots");
    return dots;
  }
  if (!a.is_cpu()) return at::sum(a.to(at::kFloat) * b.to(at::kFloat), {1});
  by_float_type(a.scalar_type(), "row_dots", [&](auto type) {
    using T = decltype(type);
    const T* left = a.const_data_ptr<T>();
    const T* right = b.const_data_ptr<T>();
    parallel(a.size(0), width * 4, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        // Eight sums side by side: the compiler may use vectors, and the order is fixed.
        float part[8] = {};
        for (int64_t f = 0; f < width; ++f) {
          part[f % 8] += static_cast<float>(left[r * width + f]) * static_cast<float>(right[r * width + f]);
        }
        out[r] = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
      }
    });
  });
  return dots;
}

void scale_rows(const at::Tensor& rows, const at::Tensor& factors) {
  check_rows(rows, "scale_rows");
  TESSERA_CHECK(factors.numel() == rows.size(0) && factors.scalar_type() == at::kFloat, argument,
                "scale_rows: factors ", factors.sizes(), " do not fit rows ", rows.sizes());
  TESSERA_CHECK(rows.device() == factors.device(), argument, "scale_rows: rows on ", rows.device(),
                ", factors on ", factors.device());
  const int64_t width = rows.size(1);
  if (const CudaTable* cuda = cuda_loops({&rows})) {
    const CudaCall call(*cuda, rows);
    const at::Tensor dense = factors.contiguous();
    call.check(cuda->scale_rows(cuda_type(rows), out(rows), dense.const_data_ptr<float>(), rows.size(0),
                                width, call.stream()),
               "scale_rows");
    return;
  }
  if (!rows.is_cpu()) {
    rows.copy_(rows.to(at::kFloat) * factors.view({-1, 1}));
    return;
  }
  const float* factor = factors.const_data_ptr<float>();
  by_float_type(rows.scalar_type(), "scale_rows", [&](auto type) {
    using T = decltype(type);
    T* data = rows.mutable_data_ptr<T>();
    parallel(rows.size(0), width * 2 * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t f = 0; f < width; ++f) {
          data[r * width + f] = static_cast<T>(static_cast<float>(data[r * width + f]) * factor[r]);
        }
      }
    });
  });
}

}  // namespace tessera::kernels
