// The spdlog sink behind core/log.h. No LibTorch header may be included here: LibTorch ships another fmt.
#include "core/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace tessera {
namespace {

std::atomic<int> g_level{static_cast<int>(LogLevel::warning)};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::trace:
      return spdlog::level::trace;
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      break;
  }
  return spdlog::level::off;
}

// Both live until the process ends, so that a thread that logs while statics are destroyed still finds them.
spdlog::logger& stderr_logger() {
  static auto* logger = [] {
    auto* made = new spdlog::logger("tessera", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_level(spdlog::level::trace);  // filtered by g_level
    made->flush_on(spdlog::level::trace);
    made->set_pattern("%H:%M:%S.%e %n %^%l%$ %v");
    return made;
  }();
  return *logger;
}

struct SinkHolder {
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;
};
SinkHolder& sink_holder() {
  static auto* holder = new SinkHolder;
  return *holder;
}

}  // namespace

bool log_enabled(LogLevel level) {
  return level != LogLevel::off && static_cast<int>(level) >= g_level.load(std::memory_order_relaxed);
}

void set_log_level(LogLevel level) {
  g_level.store(static_cast<int>(level), std::memory_order_relaxed);
}

LogLevel log_level() {
  return static_cast<LogLevel>(g_level.load(std::memory_order_relaxed));
}

void set_log_sink(LogSink sink) {
  auto replacement = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
  SinkHolder& holder = sink_holder();
  const std::lock_guard lock(holder.mutex);
  holder.sink.swap(replacement);  // the old sink is destroyed after the lock is released
}

void log(LogLevel level, std::string_view message) {
  if (!log_enabled(level)) return;
  std::shared_ptr<const LogSink> sink;
  {
    SinkHolder& holder = sink_holder();
    const std::lock_guard lock(holder.mutex);
    sink = holder.sink;
  }
  if (sink) {
    (*sink)(level, message);
  } else {
    stderr_logger().log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
  }
}

}  // namespace tessera
