// Causal attention over documents laid end to end (varlen, THD), with grouped key/value heads and sliding
// windows: FlashAttention's forward and backward (Dao et al., 2022; Dao, 2023), which never form the whole
// score matrix.
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
};

/// The spans of a packed batch (see PackedBatch for the two boundary lists, int32 [n+1]): one per document,
/// real length only, so padding belongs to no span. Errors: boundaries that do not grow or pass `tokens`
/// (argument).
std::vector<AttentionSpan> document_spans(const at::Tensor& cu_seqlens, const at::Tensor& cu_seqlens_padded,
                                          int64_t tokens);

struct AttentionResult {
  at::Tensor out;  ///< [T, Hq, d] contiguous; rows of no span, and rows that see no key, are zero
  at::Tensor
      lse;  ///< float32 [Hq, T]: log-sum-exp of the scaled (and capped) scores; -inf where a row sees no key
};

/// q [T, Hq, d], k and v [Tk, Hkv, d], Hq a multiple of Hkv; head and last dimensions dense, token stride
/// free. Spans must not overlap in their queries.
AttentionResult attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const std::vector<AttentionSpan>& spans, const AttentionOptions& options = {});

struct AttentionGrads {
  at::Tensor dq;  ///< [T, Hq, d] contiguous
  at::Tensor dk;  ///< [Tk, Hkv, d] contiguous
  at::Tensor dv;  ///< [Tk, Hkv, d] contiguous
};

/// Gradients of attention(); out and lse are its results. Spans that share keys add up.
AttentionGrads attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                  const std::vector<AttentionSpan>& spans,
                                  const AttentionOptions& options = {});

}  // namespace tessera::kernels
