// Counts the bytes of CPU tensors that the threads of a test allocate, each for itself.
#pragma once

#include <cstdint>
#include <memory>

namespace tessera::testing {

/// From its construction to its end, for the calling thread: bytes that this thread allocated and nobody has
/// freed. The first one puts LibTorch's tensors on a counting allocator for the rest of the process, so a
/// test that meters runs in a process of its own (as ctest does).
class MemoryMeter {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  int64_t in_use() const;
  int64_t peak() const;
  /// The next peak counts from what is in use now.
  void restart_peak();

  struct Book;

 private:
  std::shared_ptr<Book> book_;
};

}  // namespace tessera::testing
