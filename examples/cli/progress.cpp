// Drawing of progress and loss curve.
#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace cli {
namespace {

std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

}  // namespace

Progress::Progress(long long steps) : terminal_(isatty(STDOUT_FILENO) != 0), steps_(steps) {}

void Progress::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stdout);
  drawn_ = false;
}

void Progress::note(const std::string& line) {
  clear();
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void Progress::draw(const tessera_metrics& metrics) {
  constexpr int kWidth = 24;
  std::string bar;
  if (steps_ > 0) {
    const int filled = static_cast<int>(std::min<long long>(metrics.step * kWidth / steps_, kWidth));
    for (int i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
  }
  std::printf("\r\x1b[K%s %lld/%lld  loss %.4f  norm %.3f  lr %.2e  %.0f tokens/s", bar.c_str(),
              static_cast<long long>(metrics.step), steps_, metrics.loss, metrics.grad_norm, metrics.lr,
              metrics.tokens_per_s);
  drawn_ = true;
  std::fflush(stdout);
}

void Progress::step(const tessera_metrics& metrics) {
  losses_.push_back(metrics.loss);
  const auto now = std::chrono::steady_clock::now();
  const bool last = metrics.step == steps_;
  // A terminal is redrawn some times a second; a log gets every step, thinned once it scrolls fast.
  if (terminal_) {
    if (last || now - last_ > std::chrono::milliseconds(100)) {
      draw(metrics);
      last_ = now;
    }
  } else if (last || losses_.size() <= 10 || now - last_ > std::chrono::seconds(1)) {
    std::printf("step %lld", static_cast<long long>(metrics.step));
    if (steps_ > 0) std::printf("/%lld", steps_);
    std::printf("  loss %.4f  grad_norm %.4f  lr %.3e  tokens %lld  tokens/s %.0f\n", metrics.loss,
                metrics.grad_norm, metrics.lr, static_cast<long long>(metrics.tokens), metrics.tokens_per_s);
    std::fflush(stdout);
    last_ = now;
  }
}

void Progress::finish() {
  clear();
  if (losses_.size() >= 8) std::printf("loss\n%s", plot(losses_, 64, 8).c_str());
}

std::string plot(const std::vector<double>& values, int columns, int rows) {
  // One column is the mean of the values that fall into it.
  columns = static_cast<int>(std::min<size_t>(columns, values.size()));
  std::vector<double> means;
  for (int c = 0; c < columns; ++c) {
    const size_t begin = values.size() * c / columns, end = values.size() * (c + 1) / columns;
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += values[i];
    means.push_back(sum / static_cast<double>(end - begin));
  }
  double low = means[0], high = means[0];
  for (const double mean : means) {
    if (!std::isfinite(mean)) return "";
    low = std::min(low, mean);
    high = std::max(high, mean);
  }
  const char* eighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const double unit = high > low ? (high - low) / (rows * 8 - 1) : 1;
  std::string text;
  for (int row = rows - 1; row >= 0; --row) {
    text += row == rows - 1 ? format("%8.3f ", high) : row == 0 ? format("%8.3f ", low) : std::string(9, ' ');
    text += "┤";
    for (const double mean : means) {
      const int height = 1 + static_cast<int>(std::lround((mean - low) / unit));
      text += eighths[std::clamp(height - row * 8, 0, 8)];
    }
    text += "\n";
  }
  return text;
}

}  // namespace cli
