// Rotation of neighbouring elements.
#include "kernels/rope_neighbours.h"

#include <ATen/ops/add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>

#include "core/error.h"
#include "kernels/cpu/parallel.h"

namespace tessera::kernels {
namespace {

void rotate(const at::Tensor& x, const at::Tensor& out, const RopeTable& table, const at::Tensor& positions,
            bool inverse) {
  const int64_t half = table.cos.size(1);
  const at::Tensor cos = at::index_select(table.cos, 0, positions).unsqueeze(1);
  at::Tensor sin = at::index_select(table.sin, 0, positions).unsqueeze(1);
  if (inverse) sin = sin.neg();
  const at::Tensor pairs = x.to(at::kFloat).narrow(2, 0, 2 * half).reshape({x.size(0), x.size(1), half, 2});
  const at::Tensor a = pairs.select(3, 0), b = pairs.select(3, 1);
  const at::Tensor rotated =
      at::stack({at::sub(at::mul(a, cos), at::mul(b, sin)), at::add(at::mul(b, cos), at::mul(a, sin))}, 3);
  out.narrow(2, 0, 2 * half).copy_(rotated.flatten(2));
}

bool elements_are_dense(const at::Tensor& t) {
  return t.stride(2) == 1 || t.size(2) == 1;
}

}  // namespace

void rope_neighbours(const at::Tensor& x, const at::Tensor& out, const RopeTable& table,
                     const at::Tensor& position_ids, bool inverse) {
  const int64_t half = table.cos.size(1), rest = x.size(2) - 2 * half;
  if (have_loops({&x, &out}) && position_ids.scalar_type() == at::kLong && elements_are_dense(x) &&
      elements_are_dense(out)) {
    const at::Tensor dense_positions = position_ids.contiguous();
    const int64_t* positions = dense_positions.const_data_ptr<int64_t>();
    for (int64_t t = 0; t < x.size(0); ++t) {
      TESSERA_CHECK(positions[t] >= 0 && positions[t] < table.cos.size(0), argument, "rope: position ",
                    positions[t], " of token ", t, " is outside the table of ", table.cos.size(0));
    }
    const auto loop = pick(cpu_table().rope_neighbours, x);
    parallel(x.size(0), 2 * x.size(1) * x.size(2) * x.element_size(),
             [&, xp = in(x), op = kernels::out(out), cos = table.cos.const_data_ptr<float>(),
              sin = table.sin.const_data_ptr<float>()](int64_t b, int64_t e) {
               loop(xp, {x.size(1), x.stride(0), x.stride(1)}, op, {x.size(1), out.stride(0), out.stride(1)},
                    cos, sin, positions, half, inverse ? -1.0f : 1.0f, b, e);
             });
  } else {
    rotate(x, out, table, position_ids, inverse);
  }
  // The elements behind the rotary part go along.
  if (rest > 0 && x.const_data_ptr() != out.const_data_ptr())
    out.narrow(2, 2 * half, rest).copy_(x.narrow(2, 2 * half, rest));
}

}  // namespace tessera::kernels
