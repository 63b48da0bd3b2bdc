// Strict parsing of JSON text.
#include "checkpoint/json_sax.h"

namespace tessera {

void check_json_depth(std::string_view text) {
  constexpr int kDeepest = 100;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      TESSERA_CHECK(++depth <= kDeepest, format, "json nested deeper than ", kDeepest);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

void StrictSax::parse(std::string_view text) {
  // nlohmann takes a zero byte for the end of the text and skips a byte order mark; the format knows neither.
  const size_t nul = text.find('\0');
  TESSERA_CHECK(nul == std::string_view::npos, format, "a zero byte in json text at byte ", nul);
  TESSERA_CHECK(!text.empty() && text.front() == '{', format, "not a json object");
  const bool complete = nlohmann::json::sax_parse(text.begin(), text.end(),
                                                  static_cast<nlohmann::json_sax<nlohmann::json>*>(this));
  TESSERA_CHECK(complete, format, "not valid json");
}

}  // namespace tessera
