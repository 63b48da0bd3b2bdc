// Rows sorted by expert: what each expert computes on, and how its results come back to the tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tessera::kernels {

/// The (token, choice) pairs of the experts first .. first + counts.size(), sorted by expert and, within one,
/// by token. Pairs of other experts are left out.
struct ExpertOrder {
  at::Tensor tokens;            ///< int64 [P]: the token of each row
  at::Tensor choices;           ///< int64 [P]: token * top_k + choice
  at::Tensor positions;         ///< int64 [T, k]: the row of each pair, -1 where it is left out
  std::vector<int64_t> counts;  ///< rows per expert
  int64_t before = 0;           ///< pairs of the experts before `first`

  int64_t rows() const { return tokens.numel(); }
};

/// What an earlier order_by_expert of the same experts has counted.
struct ExpertCounts {
  std::vector<int64_t> counts;
  int64_t before = 0;
};

/// Sorts experts [T, k] (int64). On a device it waits for the counts, which decide the shapes of all that
/// follows, unless they are `known`. A pair with -1 goes nowhere. Errors (argument): an expert outside [-1,
/// all).
ExpertOrder order_by_expert(const at::Tensor& experts, int64_t first, int64_t count, int64_t all,
                            const ExpertCounts* known = nullptr);

/// out [T, H]: for each token the sum over its choices of weight * row, formed in float32 in the order of the
/// choices and rounded once to the dtype of rows [P, H]. `weights` float32 [T, k] or undefined (1).
at::Tensor combine_rows(const at::Tensor& rows, const ExpertOrder& order, const at::Tensor& weights);

/// float32 [P]: the dot product of each row of a [P, F] with that of b.
at::Tensor row_dots(const at::Tensor& a, const at::Tensor& b);

/// rows [P, F] *= factors float32 [P], in place, in float32 arithmetic.
void scale_rows(const at::Tensor& rows, const at::Tensor& factors);

}  // namespace tessera::kernels
