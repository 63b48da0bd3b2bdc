// Moves a box of a tensor between memory and a file, run by run, converting dtype and device on the way.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tensor/runs.h"

namespace tessera {

/// Bytes that are converted at a time: what a transfer needs of host memory beside the tensor itself.
inline constexpr int64_t kStagingBytes = int64_t{1} << 20;

/// Fills `out` (contiguous, box.size shaped) with the box of a row-major tensor of `shape` and `dtype`.
/// `read(byte_offset, destination, bytes)` is called with ascending offsets.
template <class Read>
void read_box(const std::vector<int64_t>& shape, at::ScalarType dtype, const Box& box, const at::Tensor& out,
              Read&& read) {
  const int64_t numel = box.numel();
  if (numel == 0) return;
  const at::NoGradGuard no_grad;
  const int64_t item = static_cast<int64_t>(c10::elementSize(dtype));
  if (out.is_cpu() && out.scalar_type() == dtype) {
    char* to = static_cast<char*>(out.mutable_data_ptr());
    for_each_run(shape, box, [&](int64_t from, int64_t at, int64_t count) {
      read(from * item, to + at * item, count * item);
    });
    return;
  }
  const int64_t capacity = std::min(numel, kStagingBytes / item);
  const at::Tensor staging = at::empty({capacity}, at::TensorOptions(dtype));
  const at::Tensor flat = out.view({-1});
  char* const buffer = static_cast<char*>(staging.mutable_data_ptr());
  int64_t filled = 0, written = 0;
  const auto convert = [&] {
    flat.narrow(0, written, filled).copy_(staging.narrow(0, 0, filled));
    written += filled;
    filled = 0;
  };
  for_each_run(shape, box, [&](int64_t from, int64_t, int64_t count) {
    while (count > 0) {
      const int64_t part = std::min(count, capacity - filled);
      read(from * item, buffer + filled * item, part * item);
      filled += part;
      from += part;
      count -= part;
      if (filled == capacity) convert();
    }
  });
  if (filled > 0) convert();
}

/// Writes `local` (contiguous, box.size shaped) as the box of a row-major tensor of `shape` and `dtype`.
/// `write(byte_offset, source, bytes)` is called with ascending offsets.
template <class Write>
void write_box(const std::vector<int64_t>& shape, at::ScalarType dtype, const Box& box,
               const at::Tensor& local, Write&& write) {
  const int64_t numel = box.numel();
  if (numel == 0) return;
  const at::NoGradGuard no_grad;
  const int64_t item = static_cast<int64_t>(c10::elementSize(dtype));
  if (local.is_cpu() && local.scalar_type() == dtype) {
    const char* from = static_cast<const char*>(local.const_data_ptr());
    for_each_run(shape, box, [&](int64_t to, int64_t at, int64_t count) {
      write(to * item, from + at * item, count * item);
    });
    return;
  }
  const int64_t capacity = std::min(numel, kStagingBytes / item);
  const at::Tensor staging = at::empty({capacity}, at::TensorOptions(dtype));
  const at::Tensor flat = local.detach().view({-1});
  const char* const buffer = static_cast<const char*>(staging.const_data_ptr());
  int64_t begin = 0, end = 0;  // elements of `local` that are in the staging buffer
  for_each_run(shape, box, [&](int64_t to, int64_t at, int64_t count) {
    while (count > 0) {
      if (at == end) {
        begin = end;
        end = std::min(numel, begin + capacity);
        staging.narrow(0, 0, end - begin).copy_(flat.narrow(0, begin, end - begin));
      }
      const int64_t part = std::min(count, end - at);
      write(to * item, buffer + (at - begin) * item, part * item);
      to += part;
      at += part;
      count -= part;
    }
  });
}

}  // namespace tessera
