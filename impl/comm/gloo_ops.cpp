// The gloo engine's collectives as exchanges of parts.
#include <algorithm>
#include <cstring>

#include "comm/gloo_group.h"
#include "comm/reduce.h"
#include "core/error.h"

namespace tessera {
namespace {

/// Up to this size every rank gets all inputs and reduces them itself: one exchange instead of two.
constexpr size_t kSmallBytes = 16384;

std::byte* data_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

}  // namespace

/// `out` gets size() parts of `bytes`, rank after rank. `in` may be this rank's part of `out`.
void GlooGroup::gather_bytes(const std::byte* in, std::byte* out, size_t bytes) {
  if (bytes == 0) return;
  std::vector<Part> sends(size(), Part{const_cast<std::byte*>(in), bytes});
  std::vector<Part> receives(size());
  for (int r = 0; r < size(); ++r) receives[r] = {out + r * bytes, bytes};
  if (out + rank() * bytes != in) std::memmove(out + rank() * bytes, in, bytes);
  exchange(sends, receives);
}

void GlooGroup::scatter_reduced(const at::Tensor& out, const at::Tensor& in, ReduceOp op) {
  const size_t bytes = in.nbytes() / static_cast<size_t>(size());
  if (bytes == 0) return;
  std::vector<std::byte> received(bytes * size());
  std::vector<Part> sends(size()), receives(size());
  std::vector<const std::byte*> sources(size());
  for (int r = 0; r < size(); ++r) {
    sends[r] = {data_of(in) + r * bytes, bytes};
    receives[r] = {received.data() + r * bytes, bytes};
    sources[r] = r == rank() ? sends[r].data : receives[r].data;
  }
  exchange(sends, receives);
  reduce_slices(op, in.scalar_type(), out.scalar_type(), sources, data_of(out), out.numel());
}

void GlooGroup::reduce_all(const at::Tensor& tensor, ReduceOp op) {
  const size_t bytes = tensor.nbytes();
  if (bytes == 0) return;
  const auto dtype = tensor.scalar_type();
  std::vector<const std::byte*> sources(size());
  if (bytes <= kSmallBytes || size() == 1) {
    std::vector<std::byte> all(bytes * size());
    gather_bytes(data_of(tensor), all.data(), bytes);
    for (int r = 0; r < size(); ++r) sources[r] = all.data() + r * bytes;
    reduce_slices(op, dtype, dtype, sources, data_of(tensor), tensor.numel());
    return;
  }
  // Reduce-scatter, then all-gather, over slices that may be shorter at the end.
  const auto element = static_cast<int64_t>(tensor.element_size());
  const int64_t length = (tensor.numel() + size() - 1) / size();
  const auto slice = [&](int r) {
    const int64_t first = std::min(tensor.numel(), length * r);
    const int64_t count = std::min(length, tensor.numel() - first);
    return Part{data_of(tensor) + first * element, static_cast<size_t>(count * element)};
  };
  const Part own = slice(rank());
  std::vector<std::byte> received(own.bytes * size());
  std::vector<Part> sends(size()), receives(size());
  for (int r = 0; r < size(); ++r) {
    sends[r] = slice(r);
    receives[r] = {received.data() + r * own.bytes, own.bytes};
    sources[r] = r == rank() ? own.data : receives[r].data;
  }
  exchange(sends, receives);
  reduce_slices(op, dtype, dtype, sources, own.data, static_cast<int64_t>(own.bytes) / element);
  for (int r = 0; r < size(); ++r) {
    sends[r] = own;
    receives[r] = slice(r);
  }
  exchange(sends, receives);
}

void GlooGroup::exchange_rows(const at::Tensor& out, const at::Tensor& in, const AllToAllPlan& plan) {
  const auto n = static_cast<size_t>(size());
  // Everyone sees everyone's counts, so that all ranks find the same error.
  std::vector<int64_t> own(plan.in_counts);
  own.insert(own.end(), plan.out_counts.begin(), plan.out_counts.end());
  std::vector<int64_t> counts(own.size() * n);
  gather_bytes(reinterpret_cast<const std::byte*>(own.data()), reinterpret_cast<std::byte*>(counts.data()),
               own.size() * sizeof(int64_t));
  for (size_t from = 0; from < n; ++from) {
    for (size_t to = 0; to < n; ++to) {
      const int64_t sent = counts[from * 2 * n + to];
      const int64_t expected = counts[to * 2 * n + n + from];
      if (sent == expected) continue;
      const Error error(
          Code::collective_mismatch,
          cat("group ", name(), ": all_to_all sends ", sent, " elements from rank ", world_ranks()[from],
              " to rank ", world_ranks()[to], ", which expects ", expected),
          world_ranks()[from]);
      link_->first_cause(key_, error);
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = error;
      throw error;
    }
  }

  const size_t element = in.element_size();
  std::vector<Part> sends(n), receives(n);
  std::byte* read = data_of(in);
  std::byte* write = data_of(out);
  for (size_t r = 0; r < n; ++r) {
    sends[r] = {read, plan.in_counts[r] * element};
    receives[r] = {write, plan.out_counts[r] * element};
    read += sends[r].bytes;
    write += receives[r].bytes;
  }
  const Part& kept = sends[rank()];
  if (kept.bytes > 0) std::memcpy(receives[rank()].data, kept.data, kept.bytes);
  exchange(sends, receives);
}

}  // namespace tessera
