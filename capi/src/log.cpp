// tessera/log.h and tessera/events.h.
#include "core/log.h"

#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::HandleTable;
using tessera::LogLevel;

namespace {

/// The queue that gets log lines, so that its destruction can give them back to stderr.
struct LogTarget {
  std::mutex mutex;
  std::weak_ptr<EventQueue> queue;
};
LogTarget& log_target() {
  static auto* target = new LogTarget;  // lives until the process ends
  return *target;
}

void send_log_to(const std::shared_ptr<EventQueue>& queue) {
  LogTarget& target = log_target();
  const std::lock_guard lock(target.mutex);
  target.queue = queue;
  if (queue == nullptr) {
    tessera::set_log_sink({});
    return;
  }
  tessera::set_log_sink([weak = std::weak_ptr(queue)](LogLevel level, std::string_view line) {
    if (const auto alive = weak.lock()) alive->push_log(level, line);
  });
}

void stop_log_to(const std::shared_ptr<EventQueue>& queue) {
  LogTarget& target = log_target();
  const std::lock_guard lock(target.mutex);
  if (target.queue.lock() != queue) return;
  target.queue.reset();
  tessera::set_log_sink({});
}

}  // namespace

tessera_status tessera_log_set_level(int32_t level, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_CHECK(level >= TESSERA_LOG_TRACE && level <= TESSERA_LOG_OFF, argument, "level=", level,
                  " is not a tessera_log_level");
    tessera::set_log_level(static_cast<LogLevel>(level));
  });
}

tessera_status tessera_log_get_level(int32_t* out_level, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_level);
    *out_level = static_cast<int32_t>(tessera::log_level());
  });
}

tessera_status tessera_log_set_events(tessera_events events, tessera_error* err) {
  return guard(err, [&] {
    const auto object = find_optional<EventsObject>(events, "events");
    send_log_to(object == nullptr ? nullptr : object->queue);
  });
}

tessera_status tessera_event_init(tessera_event* event, size_t struct_size) {
  return init_struct(event, struct_size, tessera_event{});
}

tessera_status tessera_events_create(int64_t capacity, tessera_events* out_events, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_events);
    constexpr int64_t kDefault = 1024;
    constexpr int64_t kMost = 1 << 20;
    TESSERA_CHECK(capacity >= 0 && capacity <= kMost, argument, "capacity=", capacity,
                  " must be between 0 and ", kMost);
    give(std::make_shared<EventsObject>(static_cast<size_t>(capacity == 0 ? kDefault : capacity)),
         out_events);
  });
}

tessera_status tessera_events_destroy(tessera_events events) {
  std::shared_ptr<EventQueue> queue;
  const tessera_status found = guard(nullptr, [&] {
    const auto object = find_optional<EventsObject>(events, "events");
    if (object != nullptr) queue = object->queue;
  });
  if (found != TESSERA_OK) return found;
  const tessera_status status = destroy<EventsObject>(events);
  if (status != TESSERA_OK || queue == nullptr) return status;
  return guard(nullptr, [&] {
    stop_log_to(queue);
    queue->close();
  });
}

tessera_status tessera_events_next(tessera_events events, int64_t timeout_ns, tessera_event* out_event,
                                   tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_event);
    check_out_struct(out_event, "out_event");
    const auto queue = find<EventsObject>(events, "events")->queue;
    write_struct(out_event, queue->next(timeout_from(timeout_ns)));
  });
}
