// From pieces of documents to spans of the attention kernel, and the merging of partial attentions.
#pragma once

#include <vector>

#include "context/layout.h"
#include "kernels/attention.h"

namespace tessera {

/// In one call of the kernel each query has one stretch of keys. Queries whose keys lie in several stretches
/// appear in several passes, whose results are merged.
using SpanPasses = std::vector<std::vector<kernels::AttentionSpan>>;

/// What the queries see of the keys, both ascending in (document, position); `begin` counts in the tensors
/// that the kernel is given. A token sees itself and what is before it in its document, with `window` > 0
/// only itself and the window-1 tokens before it. Empty when nothing is seen.
SpanPasses visible_spans(const std::vector<ContextPiece>& queries, const std::vector<ContextPiece>& keys,
                         int64_t window);

/// Attention over several sets of keys, one after the other: softmax is exact over the union (the online
/// softmax of Milakov and Gimelshein, 2018). Held in float32.
class PartialAttention {
 public:
  /// Adds a result of kernels::attention over `spans`.
  void add(const kernels::AttentionResult& part, const std::vector<kernels::AttentionSpan>& spans);
  bool empty() const { return parts_ == 0; }
  /// Once, after all parts. Not empty.
  void add_sinks(const at::Tensor& sinks);
  /// The attention over all that was added, `out` in `dtype`. Not empty.
  kernels::AttentionResult finish(at::ScalarType dtype) const;

 private:
  kernels::AttentionResult total_;
  int parts_ = 0;
};

}  // namespace tessera
