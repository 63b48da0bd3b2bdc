// Small passes over flat memory: casts, sums, scaling, norms, and the search for numbers that are not finite.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

namespace tessera::kernels {

/// dst = src with a cast (round to nearest even); same number of elements, both contiguous.
void cast_copy(const at::Tensor& dst, const at::Tensor& src);
/// dst += src, the sum formed in float32 (float64 for doubles) and rounded once to dst; contiguous, any two
/// float dtypes.
void add_to(const at::Tensor& dst, const at::Tensor& src);
/// a + b in float32, rounded once to the dtype of a.
at::Tensor add(const at::Tensor& a, const at::Tensor& b);
/// t *= factor in float32 arithmetic.
void scale(const at::Tensor& t, double factor);
/// Sum of squares in float64, in an order that does not depend on the number of threads.
double sum_of_squares(const at::Tensor& t);
/// t = 0 in dense memory.
void zero(const at::Tensor& t);
/// Zeros whose pages, where they are the operating system's fresh ones, nobody touches: for memory that is
/// written before it is read. A page that is read first is mapped twice.
at::Tensor zeros(at::IntArrayRef sizes, const at::TensorOptions& options);
/// True when no element is NaN or infinite.
bool all_finite(const at::Tensor& t);

}  // namespace tessera::kernels
