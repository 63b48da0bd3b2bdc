// Calls that may block for ever, made on a thread of their own so that the caller need not.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace tessera {

/// c10d's stores wait for an answer as long as the kernel keeps the connection, which is a quarter of an hour
/// after a cable was pulled. Any thread; calls are made one at a time.
class BoundedCalls {
 public:
  BoundedCalls();
  /// Does not wait for a call that was given up: its thread ends by itself when the call does.
  ~BoundedCalls();
  BoundedCalls(const BoundedCalls&) = delete;
  BoundedCalls& operator=(const BoundedCalls&) = delete;

  /// Makes the call and returns true, or rethrows what it threw; false when it has not ended after `patience`
  /// or when it was cancelled. After that every call is false at once. `call` must own what it uses.
  bool run(std::function<void()> call, std::chrono::milliseconds patience);
  /// Gives up the call under way, if any, and all later ones.
  void cancel();

 private:
  struct State;

  const std::shared_ptr<State> state_;
  std::mutex turn_;  ///< held by the caller whose call it is
  std::thread thread_;
};

}  // namespace tessera
