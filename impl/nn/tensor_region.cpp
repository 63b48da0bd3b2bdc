// Collectives at the borders of a tensor-parallel block.
#include "nn/tensor_region.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace tessera {
namespace {

// `x` with zero rows behind it.
at::Tensor padded(const at::Tensor& x, int64_t rows) {
  if (x.size(0) == rows) return x.contiguous();
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = rows;
  at::Tensor out = at::empty(shape, x.options());
  out.narrow(0, 0, x.size(0)).copy_(x);
  out.narrow(0, x.size(0), rows - x.size(0)).zero_();
  return out;
}

}  // namespace

at::Tensor PendingTensor::wait() {
  if (work_) work_->wait();
  work_.reset();
  return buffer_.size(0) == rows_ ? buffer_ : buffer_.narrow(0, 0, rows_);
}

int64_t TensorRegion::rows(int64_t tokens) const {
  return sequence_ ? (tokens + size() - 1) / size() : tokens;
}

PendingTensor TensorRegion::start_enter(const at::Tensor& x, int64_t tokens) const {
  if (!sequence_) return {x, nullptr, x.size(0)};
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] *= size();
  const at::Tensor whole = at::empty(shape, x.options());
  WorkPtr work = group_->all_gather({whole}, {x.contiguous()});
  return {whole, std::move(work), tokens};
}

PendingTensor TensorRegion::start_sum(const at::Tensor& partial) const {
  if (!split_) {
    const at::Tensor mine = sequence_ ? own_rows(partial) : partial;
    return {mine, nullptr, mine.size(0)};
  }
  if (!sequence_) {
    const at::Tensor sum = partial.contiguous();
    WorkPtr work = group_->all_reduce({sum}, ReduceOp::sum);
    return {sum, std::move(work), sum.size(0)};
  }
  const int64_t own = rows(partial.size(0));
  const at::Tensor whole = padded(partial, own * size());
  std::vector<int64_t> shape = partial.sizes().vec();
  shape[0] = own;
  const at::Tensor mine = at::empty(shape, partial.options());
  WorkPtr work = group_->reduce_scatter({mine}, {whole}, ReduceOp::sum);
  return {mine, std::move(work), own};
}

at::Tensor TensorRegion::own_rows(const at::Tensor& whole) const {
  if (!sequence_) return whole;
  const int64_t own = rows(whole.size(0));
  const int64_t first = std::min(own * rank(), whole.size(0));
  return padded(whole.narrow(0, first, std::min(own, whole.size(0) - first)), own);
}

void TensorRegion::all_reduce(const at::Tensor& tensor, ReduceOp op) const {
  if (split_) group_->all_reduce({tensor}, op)->wait();
}

}  // namespace tessera
