// What kernel_trace.cpp writes: a text file of kernels and copies that kernel_table.py reads, a line each:
//
//   N id name                      a kernel's name, before its first use
//   K start end stream id          a kernel; times in nanoseconds since 1970
//   C start end stream bytes kind  a copy, of CUPTI's kind
//   S start end stream bytes       memory that is set
#pragma once

#include <cxxabi.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tessera::tracing {

struct Span {
  uint64_t start, end;  ///< nanoseconds
  uint32_t stream;
};

/// Thread-safe; what was handed over is on disk after flush().
class TraceWriter {
 public:
  /// Without a file that can be written nothing is kept; one that exists is another process's.
  explicit TraceWriter(const char* path) : file_(path == nullptr ? nullptr : std::fopen(path, "wx")) {}
  ~TraceWriter() {
    if (file_ != nullptr) std::fclose(file_);
  }
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  bool open() const { return file_ != nullptr; }

  void kernel(const Span& span, const char* mangled) {
    const std::lock_guard lock(mutex_);
    if (!open()) return;
    const auto [known, added] = names_.try_emplace(mangled == nullptr ? "?" : mangled, names_.size());
    if (added) std::fprintf(file_, "N %zu %s\n", known->second, readable(known->first).c_str());
    std::fprintf(file_, "K %" PRIu64 " %" PRIu64 " %u %zu\n", span.start, span.end, span.stream,
                 known->second);
  }
  void copy(const Span& span, uint64_t bytes, int kind) {
    const std::lock_guard lock(mutex_);
    if (!open()) return;
    std::fprintf(file_, "C %" PRIu64 " %" PRIu64 " %u %" PRIu64 " %d\n", span.start, span.end, span.stream,
                 bytes, kind);
  }
  void set(const Span& span, uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!open()) return;
    std::fprintf(file_, "S %" PRIu64 " %" PRIu64 " %u %" PRIu64 "\n", span.start, span.end, span.stream,
                 bytes);
  }
  void flush() {
    const std::lock_guard lock(mutex_);
    if (open()) std::fflush(file_);
  }

 private:
  /// The demangled name on one line.
  static std::string readable(const std::string& mangled) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text(
        abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
    std::string name = status == 0 && text ? text.get() : mangled;
    for (char& c : name) {
      if (c == '\n') c = ' ';
    }
    return name;
  }

  std::FILE* file_;
  std::mutex mutex_;
  std::map<std::string, size_t> names_;
};

}  // namespace tessera::tracing
