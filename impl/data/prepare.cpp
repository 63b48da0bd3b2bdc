// Reads blocks of lines and converts each block in parallel, keeping the order of the files.
#include "data/prepare.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "data/dataset_options.h"
#include "data/parallel_for.h"
#include "data/row_formats.h"
#include "data/row_reader.h"

namespace tessera {
namespace {

constexpr size_t kBlockBytes = size_t{8} << 20;
constexpr int64_t kLoggedBadRows = 1000;
constexpr int64_t kTextPartBytes = int64_t{256} << 10;

struct PendingLine {
  size_t begin = 0, size = 0;
  int64_t number = 0;
  bool too_long = false;
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

class Preparation {
 public:
  Preparation(const DatasetOptions& options, const RowFormat& format, DocumentStoreBuilder& builder,
              int64_t bytes_total)
      : options_(options),
        format_(format),
        builder_(builder),
        threads_(options.workers > 0 ? static_cast<size_t>(options.workers)
                                     : std::max(1u, std::thread::hardware_concurrency())),
        bytes_total_(bytes_total) {}

  void read(const std::string& file, size_t index, size_t files) {
    const bool plain = format_.plain_text && !is_json_name(file);
    const auto reader = plain ? open_text_parts(file, format_.text_parts ? kTextPartBytes : 0)
                              : open_rows(file, options_.max_line_bytes);
    const RowConverter& convert = plain ? format_.plain_text : format_.row;
    bool any_text = false;
    Block block;
    while (block.fill(*reader)) {
      std::vector<Converted> converted(block.lines.size());
      parallel_for(converted.size(), threads_, [&](size_t i) {
        const PendingLine& line = block.lines[i];
        converted[i] = convert_row(std::string_view(block.text).substr(line.begin, line.size), line.too_long,
                                   options_, convert);
      });
      for (size_t i = 0; i < converted.size(); ++i)
        take(converted[i], file, block.lines[i].number, plain ? &any_text : nullptr);
      if (options_.progress)
        options_.progress({file, static_cast<int64_t>(index), static_cast<int64_t>(files),
                           builder_.counts().rows, builder_.counts().tokens, bytes_ + reader->consumed(),
                           bytes_total_});
    }
    if (any_text && format_.text_end >= 0) builder_.extend_text({&format_.text_end, 1});
    builder_.end_text();
    bytes_ += reader->consumed();
  }

 private:
  /// `text`: the rows are parts of a plain text; set once there is one.
  void take(Converted& converted, const std::string& file, int64_t line, bool* text) {
    if (converted.error.empty()) {
      try {
        for (const TokenRow& row : converted.rows) {
          if (text != nullptr) {
            if (!*text && format_.text_begin >= 0) builder_.extend_text({&format_.text_begin, 1});
            *text = true;
            builder_.extend_text(row.tokens);
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
    // Into a cache one rank alone reads, whichever it is.
    const bool say = says_findings(options_) || !options_.cache.empty();
    take_bad_row(cat(file, ":", line), converted.error, say, options_, builder_);
  }

  const DatasetOptions& options_;
  const RowFormat& format_;
  DocumentStoreBuilder& builder_;
  size_t threads_;
  int64_t bytes_ = 0, bytes_total_ = 0;
};

}  // namespace

Converted convert_row(std::string_view text, bool too_long, const DatasetOptions& options,
                      const RowConverter& convert) {
  Converted out;
  try {
    TESSERA_CHECK(!too_long, format, "the line is longer than data.max_line_bytes=", options.max_line_bytes);
    out.rows = convert(text);
  } catch (const Error& error) {
    // A broken program (internal) or machine (io, memory) is no bad row.
    const Code code = error.code();
    if (code != Code::format && code != Code::argument && code != Code::unsupported) throw;
    out.error = error.what();
  }
  return out;
}

void take_bad_row(const std::string& place, const std::string& reason, bool say,
                  const DatasetOptions& options, DocumentStoreBuilder& builder) {
  const std::string message = place + ": " + reason;
  if (options.on_error == "fail") throw Error(Code::format, message);
  builder.add_bad_row();
  if (!say) return;
  const int64_t bad = builder.counts().bad_rows;
  if (bad <= kLoggedBadRows) log_warning("skipped ", message);
  if (bad == kLoggedBadRows) log_warning("further bad rows are counted without a line of their own");
}

void read_documents(const std::vector<std::string>& files, const DatasetOptions& options,
                    const RowFormat& format, DocumentStoreBuilder& builder) {
  int64_t bytes = 0;
  for (const std::string& file : files) {
    std::error_code code;
    const auto size = std::filesystem::file_size(file, code);
    if (!code) bytes += static_cast<int64_t>(size);
  }
  Preparation preparation(options, format, builder, bytes);
  for (size_t i = 0; i < files.size(); ++i) preparation.read(files[i], i, files.size());
  const PrepareCounts& counts = builder.counts();
  TESSERA_CHECK(builder.size() > 0, format, "no document to train on: ", counts.rows, " rows, ",
                counts.bad_rows, " bad, ", counts.dropped, " too long, ", counts.unlabelled,
                " without labels");
}

std::shared_ptr<const DocumentStore> prepare_documents(const std::vector<std::string>& files,
                                                       const DatasetOptions& options) {
  DocumentStoreBuilder builder(options.seq_len, long_documents_rule(options), {}, document_groups(options));
  read_documents(files, options, make_row_format(options), builder);
  return builder.finish();
}

namespace {
using Clock = std::chrono::steady_clock;
constexpr auto kDebugEvery = std::chrono::milliseconds(250);
constexpr auto kInfoEvery = std::chrono::seconds(10);
}  // namespace

std::function<void(const PrepareProgress&)> progress_to_log() {
  return [debug = Clock::now() - kDebugEvery, info = Clock::now()](const PrepareProgress& at) mutable {
    const auto now = Clock::now();
    const bool rare = now - info >= kInfoEvery;
    if (!rare && now - debug < kDebugEvery) return;
    debug = now;
    if (rare) info = now;
    const int64_t percent = at.bytes_total > 0 ? std::min<int64_t>(100, at.bytes * 100 / at.bytes_total) : 0;
    log_at(rare ? LogLevel::info : LogLevel::debug, "preparing data: ", percent, " %, ", at.rows, " rows, ",
           at.tokens, " tokens, file ", at.file_index + 1, " of ", at.files);
  };
}

void log_counts(const PrepareCounts& counts, const DatasetOptions& options) {
  if (counts.bad_rows > 0)
    log_warning("skipped ", counts.bad_rows, " of ", counts.rows, " rows (data.on_error=skip)");
  if (counts.dropped + counts.truncated + counts.split + counts.unlabelled > 0)
    log_info("documents longer than data.seq_len=", options.seq_len, ": ", counts.dropped, " dropped, ",
             counts.truncated, " truncated, ", counts.split, " split; ", counts.unlabelled,
             " pieces without a label left out");
}

}  // namespace tessera
