// Keeps the host's signals off the threads that the library makes.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace tessera {

/// Blocks the signals that may be handled on any thread while a thread of ours is made, so that the host's
/// handlers run on the host's threads. Synchronous ones (SIGSEGV and the like) stay deliverable.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) {
      sigdelset(&blocked, number);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace tessera
