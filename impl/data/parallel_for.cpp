// Threads that take the next few indices until none are left.
#include "data/parallel_for.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "core/blocked_signals.h"

namespace tessera {

void parallel_for(size_t count, size_t threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  const size_t grain = std::clamp<size_t>(count / (8 * threads), 1, 16);
  const auto loop = [&] {
    for (size_t begin; !failed && (begin = next.fetch_add(grain)) < count;) {
      try {
        for (size_t i = begin; i < std::min(count, begin + grain); ++i) work(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  };
  std::vector<std::thread> pool;
  try {
    const BlockedSignals blocked;
    for (size_t i = 1; i < std::min(threads, (count + grain - 1) / grain); ++i) pool.emplace_back(loop);
  } catch (const std::system_error&) {
    // No more threads to be had: those that started, and this one, do the work.
  }
  loop();
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace tessera
