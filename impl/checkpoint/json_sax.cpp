// Strict parsing of JSON text.
#include "checkpoint/json_sax.h"

namespace tessera {

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
