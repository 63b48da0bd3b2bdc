// Rotary tables with the scaling rules of Hugging Face, and the rotation itself.
#include "kernels/rope.h"

#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/sub.h>

#include <cmath>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/rope_neighbours.h"
#include "kernels/yarn.h"

namespace tessera::kernels {
namespace {

/// Llama 3's rule: long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
/// Works on the float32 frequencies in the order of operations of transformers' _compute_llama3_parameters.
void stretch_llama3(at::Tensor& inv_freq, const RopeScaling& s) {
  TESSERA_CHECK(s.high_freq_factor > s.low_freq_factor && s.low_freq_factor > 0, argument,
                "rope scaling: high_freq_factor ", s.high_freq_factor, " must exceed low_freq_factor ",
                s.low_freq_factor, ", which must be positive");
  TESSERA_CHECK(s.original_max_positions > 0, argument, "rope scaling: original_max_positions ",
                s.original_max_positions, " must be positive");
  const double old_context = static_cast<double>(s.original_max_positions);
  const float low_wavelength = static_cast<float>(old_context / s.low_freq_factor);
  const float high_wavelength = static_cast<float>(old_context / s.high_freq_factor);
  const auto factor = static_cast<float>(s.factor);
  float* f = inv_freq.mutable_data_ptr<float>();
  for (int64_t i = 0; i < inv_freq.numel(); ++i) {
    const float wavelength = static_cast<float>(2 * M_PI) / f[i];
    if (wavelength > low_wavelength) {
      f[i] /= factor;
    } else if (wavelength >= high_wavelength) {
      const float smooth =
          (static_cast<float>(old_context) / wavelength - static_cast<float>(s.low_freq_factor)) /
          static_cast<float>(s.high_freq_factor - s.low_freq_factor);
      f[i] = (1 - smooth) * f[i] / factor + smooth * f[i];
    }
  }
}

at::Tensor factors(const std::vector<double>& values, int64_t expected) {
  TESSERA_CHECK(static_cast<int64_t>(values.size()) == expected, argument, "rope scaling: ", values.size(),
                " factors for ", expected, " frequencies");
  at::Tensor out = at::empty({expected}, at::kFloat);
  float* to = out.mutable_data_ptr<float>();
  for (const double value : values) {
    TESSERA_CHECK(std::isfinite(value) && value > 0, argument, "rope scaling: factor ", value,
                  " is not positive");
    *to++ = static_cast<float>(value);
  }
  return out;
}

/// [T, heads, d] whose heads lie densely behind each other within a token.
bool tokens_are_dense(const at::Tensor& t) {
  return (t.stride(2) == 1 || t.size(2) == 1) && (t.stride(1) == t.size(2) || t.size(1) == 1);
}

}  // namespace

RopeTable make_rope_table(int64_t positions, int64_t rotary_dim, double theta, const RopeScaling& scaling,
                          bool long_documents) {
  TESSERA_CHECK(positions >= 0, argument, "rope: positions ", positions, " is negative");
  TESSERA_CHECK(rotary_dim > 0 && rotary_dim % 2 == 0, argument, "rope: rotary_dim ", rotary_dim,
                " is not even and positive");
  TESSERA_CHECK(std::isfinite(theta) && theta > 0, argument, "rope: theta ", theta, " is not positive");
  const at::Tensor exponent = at::arange(0, rotary_dim, 2, at::kFloat).div_(static_cast<double>(rotary_dim));
  at::Tensor wavelengths = at::pow(at::Scalar(theta), exponent);
  const bool longrope = scaling.kind == RopeScaling::Kind::longrope;
  if (longrope) {
    wavelengths.mul_(factors(long_documents ? scaling.long_factor : scaling.short_factor, rotary_dim / 2));
  }
  at::Tensor inv_freq = wavelengths.reciprocal();
  if (scaling.kind != RopeScaling::Kind::none) {
    TESSERA_CHECK(std::isfinite(scaling.factor) && scaling.factor > 0, argument, "rope scaling: factor ",
                  scaling.factor, " is not positive");
  }
  if (scaling.kind == RopeScaling::Kind::linear) inv_freq.div_(scaling.factor);
  if (scaling.kind == RopeScaling::Kind::llama3) stretch_llama3(inv_freq, scaling);
  if (scaling.kind == RopeScaling::Kind::yarn) inv_freq = yarn_frequencies(wavelengths, scaling, theta);
  const at::Tensor angle = at::mul(at::arange(positions, at::kFloat).unsqueeze(1), inv_freq.unsqueeze(0));
  RopeTable table{at::cos(angle), at::sin(angle), {}};
  if (scaling.attention_factor != 1) {
    table.cos.mul_(scaling.attention_factor);
    table.sin.mul_(scaling.attention_factor);
  }
  return table;
}

void rope(const at::Tensor& x, const at::Tensor& out, const RopeTable& table, const at::Tensor& position_ids,
          bool inverse) {
  TESSERA_CHECK(x.dim() == 3 && x.sizes() == out.sizes(), argument, "rope: x ", x.sizes(), " and out ",
                out.sizes(), " must be [T, heads, d] alike");
  const int64_t half = table.cos.size(1);
  TESSERA_CHECK(x.size(2) >= 2 * half, argument, "rope: heads of ", x.size(2), " elements, table for ",
                2 * half);
  TESSERA_CHECK(position_ids.dim() == 1 && position_ids.size(0) == x.size(0), argument,
                "rope: ", position_ids.numel(), " position ids for ", x.size(0), " tokens");
  if (table.pairs == RopePairs::neighbours) return rope_neighbours(x, out, table, position_ids, inverse);
  const CudaTable* cuda = cuda_table({&x, &out, &table.cos, &table.sin, &position_ids});
  if (cuda && x.size(2) == 2 * half && cuda_loops({&x, &out}) && position_ids.scalar_type() == at::kLong &&
      tokens_are_dense(x) && tokens_are_dense(out)) {
    const CudaCall call(*cuda, x);
    const at::Tensor positions = position_ids.contiguous();
    call.check(cuda->rope(cuda_type(x), in(x), x.stride(0), kernels::out(out), out.stride(0),
                          table.cos.const_data_ptr<float>(), table.sin.const_data_ptr<float>(),
                          table.cos.size(0), positions.const_data_ptr<int64_t>(), x.size(0), x.size(1),
                          x.size(2), inverse ? -1.0f : 1.0f, call.stream()),
               "rope");
    return;
  }
  if (have_loops({&x, &out}) && position_ids.scalar_type() == at::kLong && tokens_are_dense(x) &&
      tokens_are_dense(out)) {
    const at::Tensor dense_positions = position_ids.contiguous();
    const int64_t* positions = dense_positions.const_data_ptr<int64_t>();
    for (int64_t t = 0; t < x.size(0); ++t) {
      TESSERA_CHECK(positions[t] >= 0 && positions[t] < table.cos.size(0), argument, "rope: position ",
                    positions[t], " of token ", t, " is outside the table of ", table.cos.size(0));
    }
    const auto loop = pick(cpu_table().rope, x);
    parallel(x.size(0), 2 * x.size(1) * x.size(2) * x.element_size(),
             [&, xp = in(x), op = kernels::out(out), cos = table.cos.const_data_ptr<float>(),
              sin = table.sin.const_data_ptr<float>()](int64_t b, int64_t e) {
               loop(xp, x.stride(0), op, out.stride(0), cos, sin, positions, x.size(1), x.size(2), half,
                    inverse ? -1.0f : 1.0f, b, e);
             });
    return;
  }
  const at::Tensor cos = at::index_select(table.cos, 0, position_ids).unsqueeze(1);
  at::Tensor sin = at::index_select(table.sin, 0, position_ids).unsqueeze(1);
  if (inverse) sin = sin.neg();
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor a = x32.narrow(2, 0, half), b = x32.narrow(2, half, half);
  out.copy_(at::cat({at::sub(at::mul(a, cos), at::mul(b, sin)), at::add(at::mul(b, cos), at::mul(a, sin)),
                     x32.narrow(2, 2 * half, x.size(2) - 2 * half)},
                    2));
}

}  // namespace tessera::kernels
