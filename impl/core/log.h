// Leveled logging for the whole library. The sink is spdlog, kept out of this header because its fmt clashes with
// the one LibTorch ships; callers hand over finished text.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tessera {

enum class LogLevel : int { trace = 0, debug = 1, info = 2, warning = 3, error = 4, off = 5 };

/// Writes one line if `level` is enabled. Thread-safe. Never writes to stdout (a guest does not): the default sink
/// is stderr.
void log(LogLevel level, std::string_view message);
bool log_enabled(LogLevel level);
void set_log_level(LogLevel level);
LogLevel log_level();

/// Replaces the stderr sink; an empty function restores it. Called under no lock of the library's callers.
using LogSink = std::function<void(LogLevel, std::string_view)>;
void set_log_sink(LogSink sink);

/// log_warning("world ", rank, " is slow"): joins its arguments only when the level is enabled.
template <class... Parts>
void log_at(LogLevel level, Parts&&... parts) {
  if (log_enabled(level)) log(level, cat(std::forward<Parts>(parts)...));
}
template <class... Parts>
void log_info(Parts&&... parts) { log_at(LogLevel::info, std::forward<Parts>(parts)...); }
template <class... Parts>
void log_debug(Parts&&... parts) { log_at(LogLevel::debug, std::forward<Parts>(parts)...); }
template <class... Parts>
void log_warning(Parts&&... parts) { log_at(LogLevel::warning, std::forward<Parts>(parts)...); }

}  // namespace tessera
