// tessera config: all keys with their types, defaults and bounds; or the settings that a recipe makes.
#include <cstdio>
#include <string>

#include "arguments.h"
#include "commands.h"

namespace cli {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", value);
  return text;
}

std::string bounds(const tessera_key_info& key) {
  if (key.choices[0]) return key.choices;
  if (key.has_min && key.has_max) return number(key.min) + " to " + number(key.max);
  if (key.has_min) return "at least " + number(key.min);
  if (key.has_max) return "at most " + number(key.max);
  return "";
}

void list_keys() {
  const char* types[] = {"boolean", "integer", "real", "text", "choice", "list of texts", "list of reals"};
  int64_t count = 0;
  check(tessera_key_count, &count);
  for (int64_t index = 0; index < count; ++index) {
    tessera_key_info key{};
    tessera_key_info_init(&key, sizeof key);
    check(tessera_key_get, index, &key);
    const char* type = key.type >= 0 && key.type < 7 ? types[key.type] : "?";
    const std::string range = bounds(key);
    std::printf("%s  (%s%s%s; default %s)\n    %s\n", key.name, type, range.empty() ? "" : ": ",
                range.c_str(), key.default_value[0] ? key.default_value : "none", key.doc);
  }
}

}  // namespace

void show_config(const Words& words) {
  if (words.empty()) return list_keys();
  const Arguments arguments = parse_arguments(words, {});
  std::fputs(read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
               return tessera_config_get_text(arguments.config.get(), buf, cap, len, err);
             }).c_str(),
             stdout);
}

}  // namespace cli
