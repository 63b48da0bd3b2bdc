// The loop of a rank's thread.
#include "rank_thread.h"

#include <pthread.h>

#include <exception>
#include <utility>

#include "core/blocked_signals.h"
#include "core/log.h"
#include "exit_guard.h"

namespace tessera::capi {
RankThread::RankThread(const std::string& name, std::function<void()> prepare)
    : queue_(std::make_shared<Queue>()) {
  const BlockedSignals blocked;
  thread_ = std::thread([queue = queue_, prepare = std::move(prepare)] { run(queue, prepare); });
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

RankThread::~RankThread() {
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stop = true;
    queue_->changed.notify_one();
  }
  if (thread_.get_id() == std::this_thread::get_id() || process_is_ending()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void RankThread::post(std::function<void()> task) {
  const std::lock_guard lock(queue_->mutex);
  queue_->tasks.push_back(std::move(task));
  queue_->changed.notify_one();
}

void RankThread::run(const std::shared_ptr<Queue>& queue, const std::function<void()>& prepare) {
  try {
    prepare();
  } catch (const std::exception& error) {
    log_warning("a rank's thread keeps its default settings: ", error.what());
  }
  std::unique_lock lock(queue->mutex);
  while (true) {
    queue->changed.wait(lock, [&] { return queue->stop || !queue->tasks.empty(); });
    if (queue->tasks.empty()) return;
    auto task = std::move(queue->tasks.front());
    queue->tasks.pop_front();
    lock.unlock();
    {
      const RunningWork running;
      task();
      task = nullptr;  // what it held is let go before the next one waits
    }
    lock.lock();
  }
}

}  // namespace tessera::capi
