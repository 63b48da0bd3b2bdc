// The bounded queue behind tessera_events: metrics and log lines give way to newer ones, failures never do.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string_view>

#include "core/log.h"
#include "tessera/events.h"
#include "tessera/log.h"
#include "train/trainer.h"

namespace tessera::capi {

class EventQueue {
 public:
  explicit EventQueue(size_t capacity) : capacity_(capacity) {}

  void push_metrics(int rank, const StepMetrics& metrics) noexcept;
  void push_log(LogLevel level, std::string_view line) noexcept;
  void push_failure(int rank, const tessera_error& error) noexcept;
  void push_checkpoint(int rank, std::string_view directory) noexcept;

  /// Throws timeout, or cancelled when the queue was closed.
  tessera_event next(std::optional<std::chrono::nanoseconds> timeout);
  /// Wakes all who wait; nothing can be taken or added from here.
  void close() noexcept;

 private:
  void push(tessera_event event) noexcept;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<tessera_event> events_;
  size_t capacity_;
  size_t droppable_ = 0;  ///< events in the queue that are no failures
  int64_t dropped_ = 0;
  bool closed_ = false;
};

}  // namespace tessera::capi
