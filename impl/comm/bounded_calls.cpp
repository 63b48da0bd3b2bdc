// Calls with a deadline.
#include "comm/bounded_calls.h"

#include <condition_variable>
#include <exception>
#include <utility>

namespace tessera {

// Shared with the thread, which may outlive the object.
struct BoundedCalls::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::function<void()> call;  // what the thread shall do next
  std::exception_ptr error;    // what the latest call threw
  bool busy = false;           // from the moment a call is given until it has ended
  bool lost = false;           // a call was given up
  bool stopping = false;

  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || call != nullptr; });
      if (call == nullptr) return;
      std::function<void()> now = std::exchange(call, nullptr);
      lock.unlock();
      std::exception_ptr thrown;
      try {
        now();
      } catch (...) {
        thrown = std::current_exception();
      }
      now = nullptr;
      lock.lock();
      error = thrown;
      busy = false;
      changed.notify_all();
    }
  }
};

BoundedCalls::BoundedCalls()
    : state_(std::make_shared<State>()), thread_([state = state_] { state->serve(); }) {}

BoundedCalls::~BoundedCalls() {
  bool busy = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    busy = state_->busy;
    state_->changed.notify_all();
  }
  if (busy) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

bool BoundedCalls::run(std::function<void()> call, std::chrono::milliseconds patience) {
  const std::lock_guard turn(turn_);
  std::unique_lock lock(state_->mutex);
  if (state_->lost) return false;
  state_->call = std::move(call);
  state_->busy = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, patience, [&] { return !state_->busy || state_->lost; });
  if (state_->busy) {
    state_->lost = true;
    return false;
  }
  if (const std::exception_ptr error = std::exchange(state_->error, nullptr)) std::rethrow_exception(error);
  return true;
}

void BoundedCalls::cancel() {
  const std::lock_guard lock(state_->mutex);
  state_->lost = true;
  state_->changed.notify_all();
}

}  // namespace tessera
