// Log lines turned into a bar on stderr.
#include "preparing.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace cli {
namespace {

/// As the library itself would have written it.
void print_log_line(const tessera_event& event) {
  const char* level = event.level >= TESSERA_LOG_ERROR     ? "error"
                      : event.level == TESSERA_LOG_WARNING ? "warning"
                      : event.level == TESSERA_LOG_INFO    ? "info"
                                                           : "debug";
  const std::time_t seconds = event.time_ns / 1'000'000'000;
  std::tm local{};
  localtime_r(&seconds, &local);
  char time[16];
  std::strftime(time, sizeof time, "%H:%M:%S", &local);
  std::fprintf(stderr, "%s.%03d tessera %s %s\n", time, static_cast<int>(event.time_ns / 1'000'000 % 1000),
               level, event.message);
}

}  // namespace

std::string preparing_line(const std::string& log_line) {
  int percent = 0;
  char rest[256];
  if (std::sscanf(log_line.c_str(), "preparing data: %d %%, %255[^\n]", &percent, rest) != 2) return "";
  constexpr int kWidth = 24;
  std::string line = "preparing ";
  for (int i = 0; i < kWidth; ++i) line += i < std::clamp(percent, 0, 100) * kWidth / 100 ? "█" : "░";
  return line + " " + std::to_string(percent) + " %  " + rest;
}

PreparingBar::PreparingBar() : terminal_(isatty(STDERR_FILENO) != 0) {
  if (tessera_events_create(0, &events_, nullptr) != TESSERA_OK) return;
  tessera_log_get_level(&level_, nullptr);
  tessera_log_set_level(std::min<int32_t>(level_, TESSERA_LOG_DEBUG), nullptr);
  tessera_log_set_events(events_, nullptr);
  thread_ = std::thread([this] { pull(); });
}

PreparingBar::~PreparingBar() {
  if (!thread_.joinable()) return;
  stop_ = true;
  thread_.join();
  tessera_log_set_events(tessera_events{0}, nullptr);
  tessera_log_set_level(level_, nullptr);
  tessera_events_destroy(events_);
}

void PreparingBar::pull() {
  bool drawn = false;
  const auto clear = [&] {
    if (drawn) std::fputs("\r\x1b[K", stderr);
    drawn = false;
  };
  for (bool last = false; !last;) {
    last = stop_;  // what was logged before is still shown
    tessera_event event{};
    tessera_event_init(&event, sizeof event);
    while (tessera_events_next(events_, last ? 0 : 50'000'000, &event, nullptr) == TESSERA_OK) {
      const std::string line = preparing_line(event.message);
      const bool draw = terminal_ && !line.empty();
      // A log gets the rare lines of a preparation, whatever else it is set to.
      const bool shown = event.level >= level_ || (!line.empty() && event.level >= TESSERA_LOG_INFO);
      if (!draw && !shown) continue;
      clear();
      if (!draw) {
        print_log_line(event);
      } else {
        std::fputs(line.c_str(), stderr);
        drawn = true;
      }
      std::fflush(stderr);
    }
  }
  clear();
  std::fflush(stderr);
}

}  // namespace cli
