// Fuzzes the reader of JSONL token rows. What it accepts is a document within the vocabulary; what it refuses
// is a format error of one line.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "data/packed_batch.h"
#include "data/token_rows.h"

namespace {

using tessera::Code;
using tessera::Error;

constexpr int64_t kVocab = 1000;

// A property that does not hold ends the run, as a crash would.
void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const tessera::TokenRow row =
        tessera::parse_token_row(std::string_view(reinterpret_cast<const char*>(data), size), kVocab);
    require(!row.tokens.empty() && row.tokens.size() == row.labels.size() && row.tokens.size() <= size);
    for (const int32_t id : row.tokens) require(id >= 0 && id < kVocab);
    for (const int32_t label : row.labels) {
      require(label == tessera::kIgnoredLabel || (label >= 0 && label < kVocab));
    }
  } catch (const Error& error) {
    require(error.code() == Code::format);
    require(std::strchr(error.what(), '\n') == nullptr && std::strlen(error.what()) < 1000);
  }
  return 0;
}
