// Metrics, log lines and failures as a queue.
#ifndef TESSERA_CPP_EVENTS_HPP
#define TESSERA_CPP_EVENTS_HPP

#include <chrono>
#include <cstdint>

#include "tessera/events.h"
#include "tessera/log.h"
#include "tessera/cpp/future.hpp"

namespace tessera {
inline namespace cpp0 {

/// Metrics, log lines and failures as a queue to pull from.
class Events : public detail::Handle<tessera_events, tessera_events_destroy> {
   public:
    explicit Events(std::int64_t capacity = 0) { detail::call(tessera_events_create, capacity, out()); }
    /// False when none came in time.
    bool next(tessera_event &event, std::chrono::nanoseconds timeout = forever()) const {
        event = detail::initialised(tessera_event_init);
        return detail::call_or(TESSERA_E_TIMEOUT, tessera_events_next, Handle::get(), detail::nanoseconds(timeout),
                               &event);
    }
};

/// Sends the library's log lines to a queue; nullptr: to stderr again.
inline void set_log_events(const Events *events) { detail::call(tessera_log_set_events, detail::get_or_null(events)); }

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_EVENTS_HPP
