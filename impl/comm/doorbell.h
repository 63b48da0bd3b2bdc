// Words in memory that several threads or processes share: text that may be read while it is written, and a
// bell that wakes a sleeping rank.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace tessera {

/// A short text of at most `bytes` bytes. A reader that overlaps a writer may see a mixture, never a race.
template <size_t bytes>
class SharedText {
  static_assert(bytes % 8 == 0);

 public:
  void write(std::string_view text) {
    for (size_t word = 0; word < bytes / 8; ++word) {
      uint64_t value = 0;
      if (word * 8 < text.size())
        std::memcpy(&value, text.data() + word * 8, std::min<size_t>(8, text.size() - word * 8));
      words_[word].store(value, std::memory_order_relaxed);
    }
  }
  std::string read() const {
    char text[bytes + 1] = {};
    for (size_t word = 0; word < bytes / 8; ++word) {
      const uint64_t value = words_[word].load(std::memory_order_relaxed);
      std::memcpy(text + word * 8, &value, 8);
    }
    return text;
  }

 private:
  std::array<std::atomic<uint64_t>, bytes / 8> words_{};
};

/// Where one rank sleeps. A producer changes the state that the rank waits for (a sequentially consistent
/// store), then calls ring(); the rank looks at that state between announcing its sleep and sleeping. One of
/// the two always sees the other, so no wake-up is lost, and ring() is one load while nobody sleeps.
class alignas(64) Doorbell {
 public:
  void ring() {
    if (sleepers_.load() != 0) wake();
  }

  /// Sleeps until rung or `limit` passes, unless `ready()` already holds.
  template <class Ready>
  void sleep_unless(Ready&& ready, std::chrono::microseconds limit) {
    sleepers_.fetch_add(1);
    const uint32_t seen = rings_.load();
    try {
      if (!ready()) sleep(seen, limit);
    } catch (...) {
      sleepers_.fetch_sub(1);
      throw;
    }
    sleepers_.fetch_sub(1);
  }

 private:
  void wake();
  void sleep(uint32_t seen, std::chrono::microseconds limit);

  std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> sleepers_{0};
};

/// Tells the processor that this is a spin loop.
inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace tessera
