// A bound on how deep JSON text is nested, told before it is parsed.
#include "core/json_depth.h"

#include "core/error.h"

namespace tessera {

void check_json_depth(std::string_view text, std::string_view name) {
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
      TESSERA_CHECK(++depth <= kDeepest, format, name, " nested deeper than ", kDeepest);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

}  // namespace tessera
