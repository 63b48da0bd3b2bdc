// Fuzzes the readers of JSONL rows, of all formats. What they accept is a document within the vocabulary;
// what they refuse is a format error of one line.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "../support/data_directory.h"
#include "../support/tiny_tokenizer.h"
#include "core/error.h"
#include "data/packed_batch.h"
#include "data/row_formats.h"
#include "data/token_rows.h"

namespace {

using namespace tessera;

constexpr int64_t kVocab = 1000;

// A property that does not hold ends the run, as a crash would.
void require(bool holds) {
  if (!holds) std::abort();
}

void check_row(const TokenRow& row) {
  require(!row.tokens.empty() && row.tokens.size() == row.labels.size());
  for (const int32_t id : row.tokens) require(id >= 0 && id < kVocab);
  for (const int32_t label : row.labels) require(label == kIgnoredLabel || (label >= 0 && label < kVocab));
}

std::vector<RowFormat> text_formats() {
  const DataDirectory directory;
  directory.write("tokenizer.json", testing::tiny_tokenizer().dump());
  directory.write("tokenizer_config.json", testing::tiny_tokenizer_config().dump());
  DatasetOptions options;
  options.tokenizer = directory.path("");
  options.vocab_size = kVocab;
  options.chat_template = "chatml";
  std::vector<RowFormat> formats;
  for (const char* format : {"chat", "sharegpt", "alpaca", "prompt", "text", "preference"}) {
    options.format = format;
    formats.push_back(make_row_format(options));
  }
  return formats;
}

template <class Read>
void check_read(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    require(error.code() == Code::format || error.code() == Code::unsupported);
    require(std::strchr(error.what(), '\n') == nullptr && std::strlen(error.what()) < 1000);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<RowFormat> formats = text_formats();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_read([&] {
    const TokenRow row = parse_token_row(text, kVocab);
    check_row(row);
    require(row.tokens.size() <= size);
  });
  for (const RowFormat& format : formats) {
    check_read([&] {
      for (const TokenRow& row : format.row(text)) check_row(row);
    });
  }
  return 0;
}
