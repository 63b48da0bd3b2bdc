// Copies between host memory and a device that neither side waits for, and a stream for them beside the one
// that computes.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <deque>
#include <memory>
#include <vector>

namespace tessera {

/// `host` on `device`, in stream order; itself on the cpu. A GPU reads it from pinned memory, which is kept
/// until it has.
at::Tensor sent_to(at::Device device, const at::Tensor& host);
/// Small integers that the host has counted and a kernel needs.
at::Tensor sent_to(at::Device device, const std::vector<int64_t>& values, at::ScalarType dtype);

/// While it lives, what this thread sends from pinned memory is kept in `kept`: a captured copy reads it
/// again at every replay.
class KeepSent {
 public:
  explicit KeepSent(std::vector<at::Tensor>& kept);
  ~KeepSent();
  KeepSent(const KeepSent&) = delete;
  KeepSent& operator=(const KeepSent&) = delete;
};

/// Host memory, not filled, that `device` reads and writes while this thread goes on: pinned for a GPU.
at::Tensor host_memory_of(at::Device device, at::IntArrayRef sizes, at::ScalarType dtype);

/// `memory`, the only tensor of memory that LibTorch's allocator of pinned memory has just given. That
/// allocator notes at the end of a tensor what the device still does with it, and throws when the device has
/// failed, where an exception would end the process: it is caught, and the memory is not used again.
at::Tensor freed_quietly(at::Tensor memory);

/// A copy under way. Not thread-safe.
class PendingCopy {
 public:
  PendingCopy(at::Tensor dst, at::Tensor src, c10::Event done)
      : dst_(std::move(dst)), src_(std::move(src)), done_(std::move(done)) {}

  /// Makes the current stream wait, not the thread; `src` is then free to be used again in stream order.
  void wait();
  /// Blocks the thread.
  void finish();
  bool done() const { return done_.query(); }
  const at::Tensor& result() const { return dst_; }

 private:
  at::Tensor dst_, src_;
  c10::Event done_;
};
using PendingCopyPtr = std::shared_ptr<PendingCopy>;

/// A stream of a device on which nothing but copies run. One direction each, so that neither waits for the
/// other.
class CopyStream {
 public:
  explicit CopyStream(at::Device device);

  at::Device device() const { return stream_.device(); }
  const c10::Stream& stream() const { return stream_; }
  /// What is queued on the stream from here on comes behind what the current one has been given so far.
  void follow() const;
  /// dst = src behind what the current stream has been given so far. Both are kept until the copy is waited
  /// for.
  PendingCopyPtr start(const at::Tensor& dst, const at::Tensor& src) const;

 private:
  c10::Stream stream_;
};

/// Copies of one stream away from a device, at most `most` at a time: then the current stream waits for the
/// oldest, so that the device's memory is used again while later ones run. The caller forgets what it has
/// copied away.
class CopyWindow {
 public:
  explicit CopyWindow(size_t most) : most_(most) {}
  void add(PendingCopyPtr copy);
  /// Blocks the thread until all have ended.
  void finish();

 private:
  size_t most_;
  std::deque<PendingCopyPtr> under_way_;
  PendingCopyPtr latest_;  // ends after all others
};

}  // namespace tessera
