// One writer at a time for a cache file, over threads, processes and, where the file system can, hosts.
#pragma once

#include <chrono>
#include <string>

#include "core/file_io.h"

namespace tessera {

/// An advisory lock on a file beside the cache. The system lets it go when its holder ends, however it ends.
/// Not for two threads at a time.
class CacheLock {
 public:
  /// Creates the lock's file. Throws Error(io).
  explicit CacheLock(const std::string& path, std::chrono::milliseconds stuck = std::chrono::minutes(5));

  /// Waits until the lock is free and takes it. False when its holder showed no sign of life (touch()) for
  /// the time `stuck`. On a file system without locks it returns at once: exclusive() is false then, and two
  /// writers only do the same work twice.
  bool wait();
  bool exclusive() const { return exclusive_; }
  /// Says that the holder still works.
  void touch() noexcept;

 private:
  std::string path_;
  std::chrono::milliseconds stuck_;
  FileHandle file_;
  bool exclusive_ = false;
};

}  // namespace tessera
