// Fuzzes the readers of tokenizer.json and of tokenizer.model: a file that opens must encode and decode
// without a crash, give ids it knows and offsets inside of the text; one that does not must give an error of
// one line.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "data/sentencepiece.h"
#include "data/tokenizer.h"

namespace {

using namespace tessera;

// A property that does not hold ends the run, as a crash would.
void require(bool holds) {
  if (!holds) std::abort();
}

void use(const Tokenizer& tokenizer, const std::string& text) {
  const Encoding encoding = tokenizer.encode_with_offsets(text, true);
  require(encoding.ids.size() == encoding.offsets.size());
  for (const TextSpan& span : encoding.offsets) {
    require(0 <= span.begin && span.begin <= span.end && span.end <= static_cast<int64_t>(text.size()));
  }
  require(tokenizer.encode(text, true) == encoding.ids);
  tokenizer.decode(encoding.ids, true);
}

void check_error(const Error& error) {
  const std::string message = error.what();
  require(!message.empty() && message.find('\n') == std::string::npos);
}

}  // namespace

namespace {

void use_all(const Tokenizer& tokenizer) {
  for (const char* text : {"", "hello  wor\xC3\xA9ld <s>\n", "\xF0\x9F\x98\x80\xCC\x81 1234"}) {
    try {
      use(tokenizer, text);
    } catch (const Error& error) {
      check_error(error);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  try {
    use_all(*Tokenizer::from_json(input));
  } catch (const Error& error) {
    check_error(error);
    require(error.code() == Code::format);
  }
  try {
    use_all(*Tokenizer::from_json(convert_sentencepiece(input, "tokenizer.model").tokenizer_json));
  } catch (const Error& error) {
    check_error(error);
    require(error.code() == Code::format || error.code() == Code::unsupported);
  }
  return 0;
}
