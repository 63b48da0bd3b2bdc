// Sleeping and waking on a futex, which works between threads and between processes.
#include "comm/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace tessera {

void Doorbell::wake() {
  rings_.fetch_add(1);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&rings_), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Doorbell::sleep(uint32_t seen, std::chrono::microseconds limit) {
  timespec time{};
  time.tv_sec = static_cast<time_t>(limit.count() / 1'000'000);
  time.tv_nsec = static_cast<long>(limit.count() % 1'000'000 * 1000);
  // Returns at once when rings_ has moved on; early returns (signals) are harmless, the caller loops.
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&rings_), FUTEX_WAIT, seen, &time, nullptr, 0);
}

}  // namespace tessera
