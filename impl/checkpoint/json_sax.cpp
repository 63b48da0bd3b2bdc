// Strict parsing of JSON text and printable names.
#include "checkpoint/json_sax.h"

namespace tessera {

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out = "'";
  for (char c : text.substr(0, kLongest)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() > kLongest) out += "...";
  return out + "'";
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
