// Softmax cross-entropy of a chunk of logits, with its gradient written over the logits; whole, or in the
// pieces that a vocabulary split over ranks needs (Megatron-LM's vocab-parallel cross-entropy).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::kernels {

/// The label of a row that counts nothing; the same value as kIgnoredLabel of a PackedBatch.
inline constexpr int64_t kIgnoreIndex = -100;

/// The logits become cap * tanh(logits / cap) in place (Gemma 2's final_logit_softcapping). The functions
/// below take capped logits; those that write gradients are given the cap once more and write the gradient of
/// the logits before it. A cap of 0 is none.
void soft_cap(const at::Tensor& logits, double cap);

/// Sum over rows of -log softmax(logits)[label], summed in double. logits [n, V] float32 or bfloat16, labels
/// int64 [n]; kIgnoreIndex rows count nothing. Arithmetic is float32 with the row maximum taken out. When
/// `grad_scale` is not null, the logits are overwritten by (softmax - onehot) * grad_scale, in their dtype,
/// ignored rows by zeros. Errors: a label outside [0, V) other than kIgnoreIndex (argument, names row and
/// label).
double cross_entropy(const at::Tensor& logits, const at::Tensor& labels, const double* grad_scale,
                     double cap = 0);

/// As cross_entropy, added to `loss_sum` (float64 [1] on the device of the logits) without waiting for the
/// device. On a GPU labels are not read by the host: one outside [0, V) makes the sum NaN instead of
/// throwing.
void add_cross_entropy(const at::Tensor& logits, const at::Tensor& labels, const double* grad_scale,
                       const at::Tensor& loss_sum, double cap = 0);

struct LabelledRows {
  at::Tensor rows;    ///< int64 [count]: the rows that have a label, in order
  at::Tensor labels;  ///< int64 [count]
};

/// The rows of labels [T] (contiguous) that are not kIgnoreIndex; `count` is their number, which a
/// PackedBatch knows, so that nobody waits for the device to count them. Errors: another number of rows
/// (argument, on the cpu; on a GPU missing rows are -1 with kIgnoreIndex, and too many are left out).
LabelledRows labelled_rows(const at::Tensor& labels, int64_t count);

/// Per-row pieces over the local slice of the vocabulary, all float32 [n].
struct CrossEntropyStats {
  at::Tensor max;     ///< largest local logit
  at::Tensor sum;     ///< sum of exp(logit - max)
  at::Tensor target;  ///< the label's logit if it lies in the slice, else 0
};

/// Statistics of logits [n, V_local], whose first column is vocabulary entry `vocab_begin`. Labels outside
/// the slice belong to another rank; a slice without entries has max -inf and sum 0. Ranks then combine: M =
/// allmax(max), S = allsum(sum * exp(max - M)), t = allsum(target); the loss of a row is log(S) + M - t.
CrossEntropyStats cross_entropy_stats(const at::Tensor& logits, const at::Tensor& labels,
                                      int64_t vocab_begin);

/// Overwrites the local logits by (exp(logit - lse) - onehot) * grad_scale; `lse` float32 [n] is log(S) + M
/// of the whole row. Ignored rows get zeros.
void cross_entropy_grad(const at::Tensor& logits, const at::Tensor& labels, int64_t vocab_begin,
                        const at::Tensor& lse, double grad_scale, double cap = 0);

}  // namespace tessera::kernels
