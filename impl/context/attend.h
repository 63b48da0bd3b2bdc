// Attention as the blocks call it: over the documents of a batch that lies whole on this rank, or, with a
// context plan, over documents that are split between ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include "data/packed_batch.h"
#include "kernels/attention.h"

namespace tessera {

/// What the backward of an attention reads. Tensors are shared, not copied.
struct AttendKept {
  at::Tensor q, k, v, out, lse;
};

struct Attended {
  at::Tensor out;   ///< [T, Hq, e] contiguous: of this rank's tokens and heads
  AttendKept kept;  ///< for attend_backward
};

/// The attention of one micro-batch whose documents are split over the ranks of a context-parallel group.
/// Made once per micro-batch, used by all layers, by one thread. attend and attend_backward are collective
/// over the group: every rank calls them in the same order with tensors of the same shape. They leave q, k
/// and v as they are, and do not write to them later.
class ContextPlan {
 public:
  virtual ~ContextPlan() = default;

  /// q [T, Hq, d], k [T, Hkv, d], v [T, Hkv, e] of this rank's T tokens; head and last dimensions dense.
  /// Sinks are those of the Hq heads, the same on all ranks.
  virtual Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const kernels::AttentionOptions& options) = 0;
  /// Gradients of this rank's q, k, v, contiguous and in their dtype; dout [T, Hq, e]. That of the sinks is
  /// this rank's part: the ranks' parts add up to it.
  virtual kernels::AttentionGrads attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                                  const kernels::AttentionOptions& options) = 0;
  /// True when `kept` holds the arguments of attend and its `out` themselves, so that whoever has them, or
  /// can make them again, need not keep them twice.
  virtual bool keeps_arguments() const { return true; }
};

/// `batch` is what this rank computes on; without a plan its documents are whole.
Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedBatch& batch,
                ContextPlan* plan, const kernels::AttentionOptions& options);
kernels::AttentionGrads attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                        const PackedBatch& batch, ContextPlan* plan,
                                        const kernels::AttentionOptions& options);

}  // namespace tessera
