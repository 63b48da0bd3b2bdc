// Causal attention over documents laid end to end (varlen, THD), with grouped key/value heads, sliding
// windows, soft-capped scores and attention sinks: FlashAttention's forward and backward (Dao et al., 2022;
// Dao, 2023), which never form the whole score matrix.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tessera::kernels {

/// One document as seen by the local queries. Query i of the span sees key j of the span when
///     i + diagonal - window < j <= i + diagonal        (window 0: no lower bound).
/// A whole document has diagonal 0; context parallelism shifts it by the distance between the first local
/// query and the first key.
struct AttentionSpan {
  int64_t q_begin;
  int64_t q_len;
  int64_t k_begin;
  int64_t k_len;
  int64_t diagonal;
};

struct AttentionOptions {
  double scale = 0;    ///< multiplies the scores; 0 means 1/sqrt(d)
  int64_t window = 0;  ///< a token sees itself and the window-1 tokens before it; 0 means all
  /// Scaled scores s become soft_cap * tanh(s / soft_cap) (Gemma 2, 2024); 0 leaves them as they are.
  double soft_cap = 0;
  /// [Hq], any floating dtype: of each head a score that enters the softmax of all its queries without a
  /// value (gpt-oss, 2025; Xiao et al., 2023). Undefined: none.
  at::Tensor sinks;
};

/// The spans of a packed batch (see PackedBatch for the two boundary lists, int32 [n+1]): one per document,
/// real length only, so padding belongs to no span. Errors: boundaries that do not grow or pass `tokens`
/// (argument).
std::vector<AttentionSpan> document_spans(const at::Tensor& cu_seqlens, const at::Tensor& cu_seqlens_padded,
                                          int64_t tokens);

struct AttentionResult {
  at::Tensor out;  ///< [T, Hq, e] contiguous; rows of no span, and rows that see no key, are zero
  at::Tensor lse;  ///< float32 [Hq, T]: log-sum-exp of the scaled, capped scores and the sink; -inf where a
                   ///< row sees no key
};

/// q [T, Hq, d], k [Tk, Hkv, d], v [Tk, Hkv, e], Hq a multiple of Hkv; e is d but in latent attention. The
/// last dimension is dense, the others may be slices. Spans must not overlap in their queries.
AttentionResult attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const std::vector<AttentionSpan>& spans, const AttentionOptions& options = {});

struct AttentionGrads {
  at::Tensor dq;      ///< [T, Hq, d] contiguous
  at::Tensor dk;      ///< [Tk, Hkv, d] contiguous
  at::Tensor dv;      ///< [Tk, Hkv, e] contiguous
  at::Tensor dsinks;  ///< float32 [Hq]; undefined without sinks
};

/// Gradients of attention(); out and lse are its results, dout is [T, Hq, e]. Spans that share keys add up.
AttentionGrads attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                  const std::vector<AttentionSpan>& spans,
                                  const AttentionOptions& options = {});

/// Puts sinks into a result over all the keys that was made without, in place: the log-sum-exp grows by the
/// sink, the output shrinks by as much. Rows that see no key stay as they are. For those who put attention
/// together from parts, which must count the sink once.
void attention_add_sinks(const AttentionResult& result, const at::Tensor& sinks);

/// The gradient of the sinks alone: float32 [Hq], over all queries that saw a key.
at::Tensor attention_sink_grad(const at::Tensor& dout, const at::Tensor& out, const at::Tensor& lse,
                               const at::Tensor& sinks);

}  // namespace tessera::kernels
