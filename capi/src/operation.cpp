// Waiting for operations.
#include "operation.h"

namespace tessera::capi {
namespace {

using Clock = std::chrono::steady_clock;

/// The end of a wait; nothing when it lies beyond what the clock can express.
std::optional<Clock::time_point> deadline(std::optional<std::chrono::nanoseconds> timeout) {
  if (!timeout) return std::nullopt;
  const auto now = Clock::now();
  if (*timeout > Clock::time_point::max() - now) return std::nullopt;
  return now + *timeout;
}

template <class Condition>
bool wait_on(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
             std::optional<Clock::time_point> end, Condition condition) {
  if (end) return changed.wait_until(lock, *end, condition);
  changed.wait(lock, condition);
  return true;
}

}  // namespace

bool Operation::begin() {
  std::function<void()> unused;  // goes after the lock
  const std::lock_guard lock(mutex_);
  if (state_ != State::queued) return false;
  state_ = State::running;
  unused.swap(let_go_);
  return true;
}

void Operation::finish(std::exception_ptr error) {
  std::vector<std::shared_ptr<Waiter>> waiters;
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::done) return;
    state_ = State::done;
    error_ = std::move(error);
    waiters.swap(waiters_);
    ended_.notify_all();
  }
  for (const auto& waiter : waiters) {
    const std::lock_guard lock(waiter->mutex);
    waiter->notified = true;
    waiter->changed.notify_all();
  }
}

void Operation::cancel() {
  std::function<void()> let_go;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::queued) return;
    state_ = State::running;  // begin() fails from here
    let_go.swap(let_go_);
  }
  if (let_go) let_go();
  finish(std::make_exception_ptr(Error(Code::cancelled, "cancelled before it began")));
}

bool Operation::done() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::done;
}

bool Operation::wait(std::optional<std::chrono::nanoseconds> timeout) const {
  const auto end = deadline(timeout);
  std::unique_lock lock(mutex_);
  return wait_on(ended_, lock, end, [&] { return state_ == State::done; });
}

void Operation::result() const {
  const std::lock_guard lock(mutex_);
  TESSERA_CHECK(state_ == State::done, state, "the work has not ended");
  if (error_) std::rethrow_exception(error_);
}

std::optional<size_t> Operation::wait_any(std::span<const std::shared_ptr<Operation>> operations,
                                          std::optional<std::chrono::nanoseconds> timeout) {
  const auto end = deadline(timeout);
  const auto first_done = [&]() -> std::optional<size_t> {
    for (size_t i = 0; i < operations.size(); ++i) {
      if (operations[i]->done()) return i;
    }
    return std::nullopt;
  };
  const auto waiter = std::make_shared<Waiter>();
  for (const auto& operation : operations) {
    const std::lock_guard lock(operation->mutex_);
    if (operation->state_ == State::done) {
      waiter->notified = true;
      break;
    }
    operation->waiters_.push_back(waiter);
  }
  {
    std::unique_lock lock(waiter->mutex);
    wait_on(waiter->changed, lock, end, [&] { return waiter->notified; });
  }
  for (const auto& operation : operations) {
    const std::lock_guard lock(operation->mutex_);
    std::erase(operation->waiters_, waiter);
  }
  return first_done();
}

}  // namespace tessera::capi
