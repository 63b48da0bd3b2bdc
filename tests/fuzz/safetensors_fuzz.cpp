// Fuzzes the parsers of safetensors headers and of model.safetensors.index.json. What they accept must be
// consistent and survive writing and parsing again; what they refuse must be a format or unsupported error of
// one line.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace {

using tessera::Code;
using tessera::Error;

// A property that does not hold ends the run, as a crash would.
void require(bool holds) {
  if (!holds) std::abort();
}

template <class Parse>
void expect_clean(Parse&& parse) {
  try {
    parse();
  } catch (const Error& error) {
    require(error.code() == Code::format || error.code() == Code::unsupported);
    require(std::strchr(error.what(), '\n') == nullptr && std::strlen(error.what()) < 1000);
  }
}

void check_header(std::string_view json, int64_t data_bytes) {
  const auto entries = tessera::parse_safetensors_header(json, data_bytes);
  int64_t next = 0;
  for (const auto& entry : entries) {
    require(entry.begin == next && entry.end >= entry.begin);
    next = entry.end;
  }
  require(next == data_bytes);
  const std::string rebuilt = tessera::build_safetensors_header(entries, {});
  const auto again = tessera::parse_safetensors_header(std::string_view(rebuilt).substr(8), data_bytes);
  require(again.size() == entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    require(again[i].name == entries[i].name && again[i].dtype == entries[i].dtype &&
            again[i].shape == entries[i].shape && again[i].end == entries[i].end);
  }
}

}  // namespace

// The input is a whole file. As a fuzzer rarely keeps the length prefix right, the rest is also tried as a
// header for as many data bytes as the prefix says, and as an index.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  uint64_t prefix = 0;
  for (int i = 7; i >= 0; --i) prefix = prefix << 8 | data[i];
  const std::string_view rest(reinterpret_cast<const char*>(data) + 8, size - 8);
  if (prefix <= rest.size()) {
    expect_clean([&] { check_header(rest.substr(0, prefix), static_cast<int64_t>(rest.size() - prefix)); });
  }
  expect_clean([&] { check_header(rest, static_cast<int64_t>(prefix & INT64_MAX)); });
  expect_clean([&] {
    for (const auto& [tensor, file] : tessera::parse_weight_map(rest)) {
      require(file.find('/') == std::string::npos && file != "..");
    }
  });
  return 0;
}
