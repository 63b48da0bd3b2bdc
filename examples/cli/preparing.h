// What a person sees while data is prepared: a bar on a terminal, a line now and then elsewhere.
#pragma once

#include <atomic>
#include <string>
#include <thread>

#include "handle.h"

namespace cli {

/// While it lives the library's log lines come here. A terminal sees those on the preparation of data as a
/// bar, any other stderr one every ten seconds; all others are printed as the library would have.
class PreparingBar {
 public:
  PreparingBar();
  ~PreparingBar();
  PreparingBar(const PreparingBar&) = delete;
  PreparingBar& operator=(const PreparingBar&) = delete;

 private:
  void pull();

  bool terminal_;
  tessera_events events_{0};
  int32_t level_ = 0;  ///< what the user sees of the log
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// The line that is drawn for a log line on preparation; empty for others.
std::string preparing_line(const std::string& log_line);

}  // namespace cli
