// How kernel wrappers reach the CPU loops: which tensors qualify, and how ranges are split over intra-op
// threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <initializer_list>

#include "kernels/cpu/table.h"
#include "kernels/cpu/thread_team.h"

namespace tessera::kernels {

/// The loops read float32 and bfloat16 CPU memory; other dtypes and devices take the ATen composition.
inline bool has_loops(const at::Tensor& t) {
  return t.device().is_cpu() && (t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16);
}

/// All of one dtype that has loops; undefined tensors are passed over.
inline bool have_loops(std::initializer_list<const at::Tensor*> tensors) {
  const at::Tensor* first = nullptr;
  for (const at::Tensor* t : tensors) {
    if (!t->defined()) continue;
    if (!first) first = t;
    if (!has_loops(*t) || t->scalar_type() != first->scalar_type()) return false;
  }
  return first != nullptr;
}

template <class F>
F* pick(const ByDtype<F>& loops, const at::Tensor& t) {
  return t.scalar_type() == at::kFloat ? loops.f32 : loops.bf16;
}

inline const void* in(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr() : nullptr;
}
inline void* out(const at::Tensor& t) {
  return t.defined() ? t.mutable_data_ptr() : nullptr;
}

/// f(begin, end) over parts of [0, n), on as many threads as the caller's intra-op setting allows and the
/// work is worth; see parallel_for.
template <class F>
void parallel(int64_t n, int64_t bytes_per_item, const F& f) {
  constexpr int64_t kWorthAThread = 128 * 1024;
  parallel_for(0, n, std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, bytes_per_item)), f);
}

/// The number of parts a reduction over `rows` is cut into: a function of the rows alone, so that sums do not
/// depend on the number of threads.
inline int64_t reduction_parts(int64_t rows) {
  return std::clamp<int64_t>(rows / 64, 1, 16);
}

}  // namespace tessera::kernels
