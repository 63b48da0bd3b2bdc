// A team of threads for each thread that computes: one word from which chunks are claimed, and futexes.
#include "kernels/cpu/thread_team.h"

#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/blocked_signals.h"

/// Exported by LibTorch builds with MKL; returns the value before.
extern "C" __attribute__((weak)) int MKL_Set_Num_Threads_Local(int threads);

namespace tessera::kernels {
namespace {

/// Longer than it takes from one kernel of a step to the next, far shorter than a scheduler's time slice.
constexpr std::chrono::microseconds kSpin{50};

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value, nullptr,
          nullptr, 0);
}

/// Waits until done(word); whoever changes the word must wake.
template <class Done>
uint32_t wait(std::atomic<uint32_t>& word, std::atomic<uint32_t>& sleepers, const Done& done) {
  uint32_t value = word.load(std::memory_order_acquire);
  for (const auto limit = std::chrono::steady_clock::now() + kSpin;
       !done(value) && std::chrono::steady_clock::now() < limit;
       value = word.load(std::memory_order_acquire)) {
    for (int i = 0; i < 16; ++i) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }
  while (!done(value)) {
    ++sleepers;
    futex(word, FUTEX_WAIT, value);  // returns at once when the word has changed
    --sleepers;
    value = word.load(std::memory_order_acquire);
  }
  return value;
}

thread_local bool inside = false;  // a chunk is running on this thread

class Team {
 public:
  Team() = default;
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    stop_ = true;
    ring(INT_MAX);
    for (std::thread& worker : workers_) worker.join();
  }

  void run(int64_t threads, int64_t chunks, detail::Chunk run, const void* context) {
    grow(static_cast<size_t>(threads - 1));
    run_ = run;
    context_ = context;
    chunks_ = chunks;
    limit_ = threads - 1;
    unfinished_ = static_cast<uint32_t>(chunks);
    round_ += uint64_t{1} << 32;
    left_ = round_ | static_cast<uint64_t>(chunks);
    ring(static_cast<int>(std::min(chunks, threads) - 1));
    {
      const OneThread one;
      work();
    }
    wait(unfinished_, waiting_, [](uint32_t n) { return n == 0; });
    if (failed_) {
      failed_ = false;
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  }

 private:
  /// As many workers as the system gives: with fewer, or none, their chunks are done by those there are.
  void grow(size_t workers) {
    if (workers_.size() >= workers) return;
    const BlockedSignals blocked;
    workers_.reserve(workers);
    while (workers_.size() < workers) {
      const auto index = static_cast<int64_t>(workers_.size());
      try {
        workers_.emplace_back([this, index] { serve(index); });
      } catch (const std::system_error&) {
        return;
      }
      pthread_setname_np(workers_.back().native_handle(), "tessera-team");
    }
  }

  /// Tells workers that something has changed.
  void ring(int wanted) {
    ++rings_;
    if (sleepers_ > 0) futex(rings_, FUTEX_WAKE, static_cast<uint32_t>(wanted));
  }

  void serve(int64_t index) {
    try {
      at::get_num_threads();           // LibTorch sets a new thread up when it is first asked
    } catch (const std::exception&) {  // then the first chunk meets it, which has a caller to tell
    }
    const OneThread one;
    while (true) {
      const uint32_t heard = rings_;
      if (stop_) return;
      if (index < limit_) work();
      wait(rings_, sleepers_, [&](uint32_t now) { return now != heard; });
    }
  }

  /// Chunks until none is left. A claim holds only if the word has not changed since its round's fields were
  /// read, and a round's fields stay until all its chunks are claimed and done.
  void work() {
    inside = true;
    uint64_t left = left_;
    while ((left & UINT32_MAX) != 0) {
      const detail::Chunk run = run_;
      const void* const context = context_;
      const int64_t chunk = chunks_ - static_cast<int64_t>(left & UINT32_MAX);
      if (!left_.compare_exchange_weak(left, left - 1)) continue;
      try {
        run(context, chunk);
      } catch (...) {
        if (!failed_.exchange(true)) failure_ = std::current_exception();
      }
      if (--unfinished_ == 0 && waiting_ > 0) futex(unfinished_, FUTEX_WAKE, 1);
      left = left_;
    }
    inside = false;
  }

  // What the caller writes between rounds.
  std::atomic<detail::Chunk> run_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<int64_t> chunks_{0}, limit_{0};
  uint64_t round_ = 0;
  // The round in the upper half, chunks nobody has claimed in the lower.
  alignas(64) std::atomic<uint64_t> left_{0};
  alignas(64) std::atomic<uint32_t> unfinished_{0};
  std::atomic<uint32_t> waiting_{0};
  alignas(64) std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false}, failed_{false};
  std::exception_ptr failure_;
  std::vector<std::thread> workers_;
};

/// Grows in the child of a fork.
std::atomic<uint32_t> forks{0};

/// The team of one thread. The child of a fork gets a new one: the workers of its parent's are not there, and
/// waiting for their end would have no end, so that team is left as it is.
class OwnTeam {
 public:
  OwnTeam() {
    static const int watching = pthread_atfork(nullptr, nullptr, [] { ++forks; });
    static_cast<void>(watching);
  }
  OwnTeam(const OwnTeam&) = delete;
  OwnTeam& operator=(const OwnTeam&) = delete;
  ~OwnTeam() {
    if (made_after_ == forks) delete team_;
  }

  Team& get() {
    if (team_ == nullptr || made_after_ != forks) {
      // In the child LibTorch makes its own pool anew when it is first set, which several workers must not do
      // at once.
      if (forks > 0) at::set_num_threads(at::get_num_threads());
      team_ = new Team;
      made_after_ = forks;
    }
    return *team_;
  }

 private:
  Team* team_ = nullptr;
  uint32_t made_after_ = 0;
};

}  // namespace

int64_t team_threads() {
  return inside || at::in_parallel_region() ? 1 : at::get_num_threads();
}

OneThread::OneThread() : omp_(omp_get_max_threads()) {
  omp_set_num_threads(1);
  if (MKL_Set_Num_Threads_Local != nullptr) mkl_ = MKL_Set_Num_Threads_Local(1);
}

OneThread::~OneThread() {
  omp_set_num_threads(omp_);
  if (MKL_Set_Num_Threads_Local != nullptr) MKL_Set_Num_Threads_Local(mkl_);
}

void detail::run_chunks(int64_t chunks, Chunk run, const void* context) {
  thread_local OwnTeam team;
  team.get().run(team_threads(), chunks, run, context);
}

}  // namespace tessera::kernels
