// The last unit of a decoder: final norm, output projection and cross-entropy, a chunk of tokens at a time.
#pragma once

#include "nn/norm.h"
#include "nn/tensor_region.h"
#include "nn/unit.h"

namespace tessera {

struct HeadSpec {
  /// Where the projection's weight comes from.
  enum class Projection : int {
    own = 0,       ///< lm_head.weight
    borrowed = 1,  ///< tied embeddings: weight 0 of unit 0
    copied = 2,    ///< tied embeddings of a pipeline: this rank's copy of weight 0 of unit 0, under its name
  };
  int64_t vocab = 0;
  int64_t hidden = 0;
  double norm_eps = 1e-6;
  double init_std = 0.02;
  Projection projection = Projection::own;
  /// The vocabulary is cut over it: each rank forms the logits of its own entries only, and ranks exchange
  /// three numbers a token (vocab-parallel cross-entropy: Shoeybi et al., 2019).
  TensorRegion region;
  double soft_cap = 0;  ///< of the logits (Gemma 2); 0 is none
  kernels::NormGain norm_gain = kernels::NormGain::weight;
};

/// Rows of logits that a head forms at a time of `rows` with labels, each `row_bytes` of logits (this
/// rank's).
int64_t loss_chunk_rows(int64_t rows, int64_t row_bytes, bool on_device);

class DecoderHead : public HeadUnit {
 public:
  /// Norm `norm_prefix`.weight [hidden] and projection `projection_prefix`.weight [vocab, hidden].
  DecoderHead(const std::string& norm_prefix, const std::string& projection_prefix, const HeadSpec& spec);

  LossResult loss(const at::Tensor& input, const Microbatch& mb, WeightGrads* grads) override;
  at::Tensor logits(const at::Tensor& input, const at::Tensor& rows) override;

  /// loss() does both, and a caller that wants logits asks for them: these throw Error(internal).
  at::Tensor forward(const at::Tensor& input, const Microbatch& mb, Saved& saved,
                     Recompute recompute) override;
  at::Tensor backward(const at::Tensor& grad_output, const Microbatch& mb, Saved& saved,
                      WeightGrads& grads) override;

 private:
  /// The head's input after the norm and in front of the projection.
  struct Normed {
    at::Tensor
        x;  ///< what was normalised: rows with labels, or, under sequence parallelism, this rank's rows
    at::Tensor rstd;  ///< of it
    at::Tensor y;     ///< [labelled rows, H]
  };
  Normed normalise(const at::Tensor& input, const at::Tensor& rows, int64_t tokens) const;
  /// The input's gradient from that of Normed::y, partial where the vocabulary is cut.
  at::Tensor backward_norm(const at::Tensor& input, const at::Tensor& dy, const Normed& normed,
                           const at::Tensor& rows, int64_t tokens, WeightGrads& grads) const;
  /// Adds the loss of the rows, whose logits are capped and become their gradient when `grad_scale` is given.
  void add_chunk_loss(const at::Tensor& logits, const at::Tensor& targets, const double* grad_scale,
                      const at::Tensor& loss_sum) const;
  int64_t chunk_rows(const at::Tensor& normed, const Microbatch& mb) const;
  int64_t first_entry() const;

  int64_t vocab_;
  TensorRegion region_;
  double soft_cap_;
  RmsNorm norm_;
};

}  // namespace tessera
