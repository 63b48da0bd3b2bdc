// The thread on which a rank's work runs, one call after another, whichever threads of the host make the
// calls. Hosts such as Go move a caller between system threads; OpenMP pools, device state and allocator
// caches are per thread and must not follow it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace tessera::capi {

class RankThread {
 public:
  /// `prepare` runs first on the new thread; tasks must not throw.
  RankThread(const std::string& name, std::function<void()> prepare);
  /// Ends after the tasks that were posted. Waits for the thread unless it is the caller, or the process is
  /// ending.
  ~RankThread();
  RankThread(const RankThread&) = delete;
  RankThread& operator=(const RankThread&) = delete;

  void post(std::function<void()> task);

 private:
  /// Shared with the thread, which may outlive this object by a moment when the last user was one of its
  /// tasks.
  struct Queue {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> tasks;
    bool stop = false;
  };
  static void run(const std::shared_ptr<Queue>& queue, const std::function<void()>& prepare);

  std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace tessera::capi
