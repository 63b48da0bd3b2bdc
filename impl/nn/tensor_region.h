// The part of a block whose weights are split over the tp ranks, seen from its borders: what happens to
// activations and gradients where they cross them (Megatron-LM's f and g: Shoeybi et al., 2019), with
// sequence parallelism as a switch (Korthikanti et al., 2022).
//
//                    enter             leave             leave_backward    enter_backward
//   split            as it is          all-reduce        as it is          all-reduce
//   split, seq.      all-gather        reduce-scatter    all-gather        reduce-scatter
//   copied           as it is          as it is          as it is          as it is
//   copied, seq.     all-gather        own rows          all-gather        own rows
//
// Outside, activations are [rows(T), H]: all T tokens of the micro-batch, or with sequence parallelism this
// rank's ceil(T / tp) of them, zero rows behind the last token. Inside they are [T, H].
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nn/unit.h"

namespace tessera {

/// A communication under way and the tensor that it fills.
class PendingTensor {
 public:
  PendingTensor(at::Tensor buffer, WorkPtr work, int64_t rows)
      : buffer_(std::move(buffer)), work_(std::move(work)), rows_(rows) {}
  /// Waits; the first `rows` rows of the buffer.
  at::Tensor wait();

 private:
  at::Tensor buffer_;
  WorkPtr work_;  // null: nothing to wait for
  int64_t rows_;
};

/// Every function is collective over the group, which calls it in the order of the program.
class TensorRegion {
 public:
  /// All ranks hold everything.
  TensorRegion() = default;
  /// `split`: the block's weights are cut over the ranks, else every rank computes the whole block.
  TensorRegion(const ParallelContext& parallel, bool split)
      : group_(parallel.tp),
        size_(parallel.tp_size),
        sequence_(parallel.sequence_parallel && size_ > 1),
        split_(split && size_ > 1) {}

  int64_t size() const { return size_; }
  int rank() const { return group_ ? group_->rank() : 0; }
  bool split() const { return split_; }
  bool sequence_parallel() const { return sequence_; }
  /// True on the one rank whose partial sum holds the bias of a rowwise layer.
  bool carries_bias() const { return !split_ || rank() == 0; }
  /// Rows that activations have outside, for T tokens.
  int64_t rows(int64_t tokens) const;

  at::Tensor enter(const at::Tensor& x, int64_t tokens) const { return start_enter(x, tokens).wait(); }
  PendingTensor start_enter(const at::Tensor& x, int64_t tokens) const;
  /// The result may be `partial` itself.
  at::Tensor leave(const at::Tensor& partial) const { return start_sum(partial).wait(); }
  PendingTensor start_leave_backward(const at::Tensor& dy, int64_t tokens) const {
    return start_enter(dy, tokens);
  }
  PendingTensor start_enter_backward(const at::Tensor& partial) const { return start_sum(partial); }
  /// This rank's rows of a tensor [T, ...] that all ranks have whole, zero rows behind the last token.
  at::Tensor own_rows(const at::Tensor& whole) const;

  /// Elementwise over the ranks, in place; used where blocks exchange small statistics.
  void all_reduce(const at::Tensor& tensor, ReduceOp op) const;

  const GroupPtr& group() const { return group_; }

 private:
  PendingTensor start_sum(const at::Tensor& partial) const;

  GroupPtr group_;
  int64_t size_ = 1;
  bool sequence_ = false;
  bool split_ = false;
};

}  // namespace tessera
