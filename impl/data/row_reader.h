// The rows of a data file: lines of JSONL, elements of a JSON array, or parts of a plain text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/line_reader.h"

namespace tessera {

class RowReader {
 public:
  virtual ~RowReader() = default;
  /// The text is valid until the next call. Throws Error(io) or Error(format) naming the file.
  virtual bool next(Line& row) = 0;
  virtual int64_t consumed() const = 0;  ///< see ByteSource
};

/// Lines that are not blank. A file named *.json (compressed or not) whose first character is '[' is one
/// array, and its elements are the rows; their number is the line they begin on.
std::unique_ptr<RowReader> open_rows(const std::string& path, int64_t max_row_bytes);

/// Whether the name says JSON: *.jsonl, *.json or *.ndjson, compressed or not.
bool is_json_name(const std::string& path);

/// Parts of at least `part_bytes` (0: the whole file at once) that end after a line's end and before a
/// character that is no blank, where the common tokenizers cut anyway.
std::unique_ptr<RowReader> open_text_parts(const std::string& path, int64_t part_bytes);

}  // namespace tessera
