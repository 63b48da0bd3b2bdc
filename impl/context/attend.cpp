// Attention with and without a context plan.
#include "context/attend.h"

namespace tessera {
namespace {

std::vector<kernels::AttentionSpan> spans_of(const PackedBatch& batch) {
  return kernels::document_spans(batch.cu_seqlens, batch.cu_seqlens_padded, batch.tokens_count());
}

}  // namespace

Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedBatch& batch,
                ContextPlan* plan, const kernels::AttentionOptions& options) {
  if (plan) return plan->attend(q, k, v, options);
  const kernels::AttentionResult result = kernels::attention(q, k, v, spans_of(batch), options);
  return {result.out, {q, k, v, result.out, result.lse}};
}

kernels::AttentionGrads attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                        const PackedBatch& batch, ContextPlan* plan,
                                        const kernels::AttentionOptions& options) {
  if (plan) return plan->attend_backward(dout, kept, options);
  return kernels::attention_backward(dout, kept.q, kept.k, kept.v, kept.out, kept.lse, spans_of(batch),
                                     options);
}

}  // namespace tessera
