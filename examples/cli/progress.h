// What a person sees while training runs: a bar on a terminal, plain lines elsewhere, and the loss curve at
// the end.
#pragma once

#include <tessera/tessera.h>

#include <chrono>
#include <string>
#include <vector>

namespace cli {

class Progress {
 public:
  /// `steps` 0: not known.
  explicit Progress(long long steps);
  void step(const tessera_metrics& metrics);
  /// A line above the bar.
  void note(const std::string& line);
  void finish();

 private:
  void draw(const tessera_metrics& metrics);
  void clear();

  bool terminal_;
  bool drawn_ = false;
  long long steps_;
  std::vector<double> losses_;
  std::chrono::steady_clock::time_point last_{};
};

/// The values as `rows` lines of block characters, `columns` wide, with the scale at the left.
std::string plot(const std::vector<double>& values, int columns, int rows);

}  // namespace cli
