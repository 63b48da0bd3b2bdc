// The queue between the thread that prepares steps and the one that takes them.
#include "data/prefetch.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "core/blocked_signals.h"
#include "core/log.h"

namespace tessera {
namespace {

class PrefetchDataset : public Dataset {
 public:
  PrefetchDataset(std::unique_ptr<Dataset> inner, int64_t steps)
      : inner_(std::move(inner)), depth_(static_cast<size_t>(steps)), taken_(position()) {}
  ~PrefetchDataset() override { stop(); }

  bool next(std::vector<PackedBatch>& microbatches) override {
    if (!thread_.joinable() && !start()) {
      const bool more = inner_->next(microbatches);
      taken_ = position();
      return more;
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_.empty() || failure_ || ended_; });
    if (!ready_.empty()) {
      microbatches = std::move(ready_.front().microbatches);
      taken_ = std::move(ready_.front().after);
      ready_.pop_front();
      changed_.notify_all();
      return true;
    }
    if (failure_) std::rethrow_exception(failure_);
    return false;
  }

  std::string state() const override { return taken_.state; }

  void restore(const std::string& state) override {
    stop();
    ready_.clear();
    failure_ = nullptr;
    ended_ = false;
    try {
      inner_->restore(state);
    } catch (...) {
      inner_->restore(taken_.state);  // `inner` was ahead of what was taken
      throw;
    }
    taken_ = position();
  }

  int64_t steps_per_epoch() const override { return taken_.steps_per_epoch; }
  DatasetReport report() const override { return taken_.report; }
  /// Of documents that never change, so that the thread at work does not matter.
  std::vector<int64_t> lengths() const override { return inner_->lengths(); }
  void cancel() noexcept override { inner_->cancel(); }

 private:
  /// What can be asked about the dataset once a step was taken.
  struct Position {
    std::string state;
    int64_t steps_per_epoch = 0;
    DatasetReport report;
  };
  struct Step {
    std::vector<PackedBatch> microbatches;
    Position after;
  };

  Position position() const { return {inner_->state(), inner_->steps_per_epoch(), inner_->report()}; }

  /// False when the system has no thread to give; steps are then prepared when they are asked for.
  bool start() {
    try {
      const BlockedSignals blocked;
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& error) {
      log_warning("data.prefetch: no thread to be had: ", error.what());
      return false;
    }
    pthread_setname_np(thread_.native_handle(), "tessera-data");
    return true;
  }

  void stop() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    inner_->cancel();
    thread_.join();
    stopping_ = false;
  }

  void run() noexcept {
    try {
      while (wait_for_room()) {
        Step step;
        const bool more = inner_->next(step.microbatches);
        if (more) step.after = position();
        const std::lock_guard lock(mutex_);
        if (more) ready_.push_back(std::move(step));
        ended_ = !more;
        changed_.notify_all();
        if (!more) return;
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
      changed_.notify_all();
    }
  }

  /// False when the thread is to end.
  bool wait_for_room() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || ready_.size() < depth_; });
    return !stopping_;
  }

  std::unique_ptr<Dataset> inner_;  ///< the thread's alone while it runs, but for cancel()
  size_t depth_;
  Position taken_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Step> ready_;
  std::exception_ptr failure_;  ///< what ended the thread; comes after what is ready, and so does the end
  bool ended_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Dataset> with_prefetch(std::unique_ptr<Dataset> inner, int64_t steps) {
  if (steps == 0) return inner;
  return std::make_unique<PrefetchDataset>(std::move(inner), steps);
}

}  // namespace tessera
