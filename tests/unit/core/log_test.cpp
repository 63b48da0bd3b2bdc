// Logging: levels filter, a sink replaces stderr.
#include "core/log.h"

#include <gtest/gtest.h>

#include <vector>

namespace tessera {
namespace {

TEST(Log, LevelFiltersAndSinkReceives) {
  const LogLevel before = log_level();
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  set_log_level(LogLevel::info);
  log_debug("hidden");
  log_info("loss=", 1.5);
  set_log_level(LogLevel::off);
  log(LogLevel::error, "hidden too");
  set_log_level(before);
  set_log_sink({});
  EXPECT_EQ(lines, std::vector<std::string>{"loss=1.5"});
}

}  // namespace
}  // namespace tessera
