// One piece of work of a rank: what a future waits for, and what a blocking call waits for before it returns.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "core/error.h"

namespace tessera::capi {

/// Something that waits for the first of several operations.
struct Waiter {
  std::mutex mutex;
  std::condition_variable changed;
  bool notified = false;
};

class Operation {
 public:
  virtual ~Operation() = default;

  /// What a cancellation lets go at once, since the thread that would run the work may be busy for long. Set
  /// before the operation is known to another thread.
  void on_cancel(std::function<void()> let_go) { let_go_ = std::move(let_go); }

  /// Claims the operation for running; false when it was cancelled before.
  bool begin();
  /// Marks the end and wakes all waiters. `error` is null on success.
  void finish(std::exception_ptr error);
  /// Ends an operation that has not begun; others are left alone.
  void cancel();

  bool done() const;
  /// False when `timeout` passed first.
  bool wait(std::optional<std::chrono::nanoseconds> timeout) const;
  /// Throws what the work threw; state when the work has not ended.
  void result() const;

  /// The lowest index of an ended operation, or nothing when `timeout` passed first.
  static std::optional<size_t> wait_any(std::span<const std::shared_ptr<Operation>> operations,
                                        std::optional<std::chrono::nanoseconds> timeout);

 private:
  enum class State { queued, running, done };

  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  State state_ = State::queued;
  std::exception_ptr error_;
  std::function<void()> let_go_;
  std::vector<std::shared_ptr<Waiter>> waiters_;
};

/// An operation with a result.
template <class T>
class ResultOperation : public Operation {
 public:
  std::optional<T> value;  ///< written before finish(), read after result() returned
};

/// A timeout as the C interface gives it: negative waits for ever.
inline std::optional<std::chrono::nanoseconds> timeout_from(int64_t timeout_ns) {
  if (timeout_ns < 0) return std::nullopt;
  return std::chrono::nanoseconds(timeout_ns);
}

}  // namespace tessera::capi
