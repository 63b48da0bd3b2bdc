// Pushing, dropping and taking events.
#include "event_queue.h"

#include <algorithm>

#include "firewall.h"

namespace tessera::capi {
namespace {

tessera_event make_event(int32_t type, int rank, std::string_view message) noexcept {
  tessera_event event{};
  event.struct_size = sizeof event;
  event.type = type;
  event.rank = rank;
  event.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count();
  copy_text(event.message, message);
  return event;
}

}  // namespace

void EventQueue::push_metrics(int rank, const StepMetrics& metrics) noexcept {
  tessera_event event = make_event(TESSERA_EVENT_METRICS, rank, "");
  event.step = metrics.step;
  event.loss = metrics.loss;
  event.grad_norm = metrics.grad_norm;
  event.lr = metrics.lr;
  event.tokens = metrics.tokens;
  event.label_tokens = metrics.label_tokens;
  event.seconds = metrics.seconds;
  event.tokens_per_s = metrics.tokens_per_s;
  event.memory = metrics.memory;
  event.expert_load_ratio = metrics.experts.load_ratio;
  event.expert_idle = metrics.experts.idle;
  event.expert_balance_loss = metrics.experts.balance_loss;
  event.expert_z_loss = metrics.experts.z_loss;
  push(event);
}

void EventQueue::push_log(LogLevel level, std::string_view line) noexcept {
  tessera_event event = make_event(TESSERA_EVENT_LOG, -1, line);
  event.level = static_cast<int32_t>(level);
  push(event);
}

void EventQueue::push_failure(int rank, const tessera_error& error) noexcept {
  tessera_event event = make_event(TESSERA_EVENT_FAILURE, error.rank >= 0 ? error.rank : rank, error.message);
  event.level = TESSERA_LOG_ERROR;
  event.status = error.code;
  push(event);
}

void EventQueue::push_checkpoint(int rank, std::string_view directory) noexcept {
  push(make_event(TESSERA_EVENT_CHECKPOINT, rank, directory));
}

void EventQueue::push(tessera_event event) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const bool droppable = event.type != TESSERA_EVENT_FAILURE;
    if (droppable && droppable_ >= capacity_) {
      const auto oldest = std::find_if(events_.begin(), events_.end(), [](const tessera_event& old) {
        return old.type != TESSERA_EVENT_FAILURE;
      });
      if (oldest != events_.end()) {
        events_.erase(oldest);
        --droppable_;
        ++dropped_;
      }
    }
    events_.push_back(event);
    if (droppable) ++droppable_;
    changed_.notify_one();
  } catch (...) {  // no memory for one more event: the work that reports it must not fail for that
    ++dropped_;
  }
}

tessera_event EventQueue::next(std::optional<std::chrono::nanoseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return closed_ || !events_.empty(); };
  using Clock = std::chrono::steady_clock;
  if (timeout && *timeout < Clock::time_point::max() - Clock::now()) {
    TESSERA_CHECK(changed_.wait_until(lock, Clock::now() + *timeout, ready), timeout, "no event");
  } else {
    changed_.wait(lock, ready);
  }
  TESSERA_CHECK(!closed_, cancelled, "the queue was destroyed");
  tessera_event event = events_.front();
  events_.pop_front();
  if (event.type != TESSERA_EVENT_FAILURE) --droppable_;
  event.dropped = dropped_;
  dropped_ = 0;
  return event;
}

void EventQueue::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  events_.clear();
  changed_.notify_all();
}

}  // namespace tessera::capi
