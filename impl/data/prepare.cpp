// Reads blocks of lines and converts each block in parallel, keeping the order of the files.
#include "data/prepare.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "data/row_formats.h"
#include "data/row_reader.h"

namespace tessera {
namespace {

constexpr size_t kBlockBytes = size_t{8} << 20;
constexpr int64_t kLoggedBadRows = 5;
constexpr int64_t kTextPartBytes = int64_t{256} << 10;

struct PendingLine {
  size_t begin = 0, size = 0;
  int64_t number = 0;
  bool too_long = false;
};

struct Converted {
  std::vector<TokenRow> rows;
  std::string error;
};

/// Some lines of one file, copied so that threads can work on them.
struct Block {
  std::string text;
  std::vector<PendingLine> lines;

  bool fill(RowReader& reader) {
    text.clear();
    lines.clear();
    Line line;
    while (text.size() < kBlockBytes && reader.next(line)) {
      lines.push_back({text.size(), line.text.size(), line.number, line.too_long});
      text += line.text;
    }
    return !lines.empty();
  }
};

/// Runs work(i) for i in [0, count) on up to `threads` threads, the caller's among them.
void parallel_for(size_t count, size_t threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  const size_t grain = std::clamp<size_t>(count / (8 * threads), 1, 16);
  const auto loop = [&] {
    for (size_t begin; !failed && (begin = next.fetch_add(grain)) < count;) {
      try {
        for (size_t i = begin; i < std::min(count, begin + grain); ++i) work(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  };
  std::vector<std::thread> pool;
  try {
    for (size_t i = 1; i < std::min(threads, (count + grain - 1) / grain); ++i) pool.emplace_back(loop);
  } catch (const std::system_error&) {
    // No more threads to be had: those that started, and this one, do the work.
  }
  loop();
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

Converted convert_line(const Block& block, const PendingLine& line, const DatasetOptions& options,
                       const RowConverter& convert) {
  Converted out;
  try {
    TESSERA_CHECK(!line.too_long, format,
                  "the line is longer than data.max_line_bytes=", options.max_line_bytes);
    out.rows = convert(std::string_view(block.text).substr(line.begin, line.size));
  } catch (const Error& error) {
    // A broken program (internal) or machine (io, memory) is no bad row.
    if (error.code() != Code::format && error.code() != Code::argument) throw;
    out.error = error.what();
  }
  return out;
}

class Preparation {
 public:
  Preparation(const DatasetOptions& options, const RowFormat& format)
      : options_(options),
        format_(format),
        builder_(options.seq_len, parse_long_documents(options.long_documents, options.format)),
        threads_(options.workers > 0 ? static_cast<size_t>(options.workers)
                                     : std::max(1u, std::thread::hardware_concurrency())) {}

  void read(const std::string& file, size_t index, size_t files) {
    const bool plain = format_.plain_text && !is_json_name(file);
    const auto reader = plain ? open_text_parts(file, format_.text_parts ? kTextPartBytes : 0)
                              : open_rows(file, options_.max_line_bytes);
    const RowConverter& convert = plain ? format_.plain_text : format_.row;
    std::vector<int32_t> text;
    if (plain && format_.text_begin >= 0) text.push_back(format_.text_begin);
    Block block;
    while (block.fill(*reader)) {
      std::vector<Converted> converted(block.lines.size());
      parallel_for(converted.size(), threads_,
                   [&](size_t i) { converted[i] = convert_line(block, block.lines[i], options_, convert); });
      for (size_t i = 0; i < converted.size(); ++i)
        take(converted[i], file, block.lines[i].number, plain ? &text : nullptr);
      if (options_.progress)
        options_.progress({file, static_cast<int64_t>(index), static_cast<int64_t>(files),
                           builder_.counts().rows,
                           builder_.counts().tokens + static_cast<int64_t>(text.size())});
    }
    if (text.empty()) return;
    if (format_.text_end >= 0) text.push_back(format_.text_end);
    builder_.add_text(text);
  }

  std::shared_ptr<const DocumentStore> finish() {
    const PrepareCounts& counts = builder_.counts();
    if (counts.bad_rows > 0)
      log_warning("skipped ", counts.bad_rows, " of ", counts.rows, " rows (data.on_error=skip)");
    if (counts.dropped + counts.truncated + counts.split + counts.unlabelled > 0)
      log_info("documents longer than data.seq_len=", options_.seq_len, ": ", counts.dropped, " dropped, ",
               counts.truncated, " truncated, ", counts.split, " split; ", counts.unlabelled,
               " pieces without a label left out");
    TESSERA_CHECK(builder_.size() > 0, format, "no document to train on: ", counts.rows, " rows, ",
                  counts.bad_rows, " bad, ", counts.dropped, " too long, ", counts.unlabelled,
                  " without labels");
    return builder_.finish();
  }

 private:
  /// The documents of a row go to the builder, the tokens of a plain text to `text`.
  void take(Converted& converted, const std::string& file, int64_t line, std::vector<int32_t>* text) {
    if (converted.error.empty()) {
      try {
        for (const TokenRow& row : converted.rows) {
          if (text != nullptr) {
            text->insert(text->end(), row.tokens.begin(), row.tokens.end());
          } else {
            builder_.add(row.tokens, row.labels);
          }
        }
        return;
      } catch (const Error& error) {
        if (error.code() != Code::format) throw;
        converted.error = error.what();
      }
    }
    const std::string message = cat(file, ":", line, ": ", converted.error);
    if (options_.on_error == "fail") throw Error(Code::format, message);
    builder_.add_bad_row();
    if (builder_.counts().bad_rows <= kLoggedBadRows) log_warning("skipped ", message);
  }

  const DatasetOptions& options_;
  const RowFormat& format_;
  DocumentStoreBuilder builder_;
  size_t threads_;
};

}  // namespace

std::shared_ptr<const DocumentStore> prepare_documents(const std::vector<std::string>& files,
                                                       const DatasetOptions& options,
                                                       const RowFormat& format) {
  Preparation preparation(options, format);
  for (size_t i = 0; i < files.size(); ++i) preparation.read(files[i], i, files.size());
  return preparation.finish();
}

}  // namespace tessera
