// Reads text files line by line, plain, gzip or zstd, without holding more than a line.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// A file's bytes, decompressed. Not thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills up to `size` bytes; 0 at the end. Throws Error(io) or Error(format) naming the file, also for
  /// compressed data that is corrupt or cut off.
  virtual size_t read(char* out, size_t size) = 0;
  /// Bytes of the file, as it is on disk, that were needed so far; about, for buffers read ahead.
  virtual int64_t consumed() const = 0;
};

/// Gzip and zstd are recognised by their first bytes, not by the file's name.
std::unique_ptr<ByteSource> open_bytes(const std::string& path);

struct Line {
  std::string_view text;  ///< without the line ending; valid until the next call
  int64_t number = 0;     ///< counts from 1
  int64_t offset = 0;     ///< first byte, in the decompressed file
  bool too_long = false;  ///< longer than the limit: `text` holds only its beginning
};

/// Splits a file at '\n'. A byte order mark at the start and a '\r' at a line's end are dropped. Lines longer
/// than the limit are passed over without being held in memory. Not thread-safe.
class LineReader {
 public:
  explicit LineReader(const std::string& path, int64_t max_line_bytes = kDefaultMaxLine);
  bool next(Line& line);
  const std::string& path() const { return path_; }
  int64_t consumed() const { return source_->consumed(); }

  static constexpr int64_t kDefaultMaxLine = int64_t{64} << 20;

 private:
  bool fill();

  std::string path_;
  int64_t max_line_bytes_;
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  size_t begin_ = 0;  ///< start of what has not been handed out
  int64_t offset_ = 0, number_ = 0;
  bool end_ = false;
};

/// Files, directories (their data files, recursively) and globs to a list of files in a fixed order. Throws
/// Error(not_found) naming the entry that matches nothing.
std::vector<std::string> expand_paths(const std::vector<std::string>& paths);

/// At most `limit` bytes of untrusted text, with everything but printable ASCII replaced, for messages.
std::string printable(std::string_view text, size_t limit = 60);

}  // namespace tessera
