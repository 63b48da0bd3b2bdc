// Typed, bounded reading of a config.json.
#include "models/config_reader.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace tessera {

using nlohmann::json;

namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr int kMaxDepth = 64;
constexpr size_t kMaxShownValue = 60;

/// A value as it stands in the file, one line and short; objects and lists by their kind, since printing them
/// could recurse as deep as the file is nested.
std::string show_value(const json& value) {
  if (value.is_object()) return "{...}";
  if (value.is_array()) return "[...]";
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kMaxShownValue) text = text.substr(0, kMaxShownValue) + "...";
  return text;
}

int64_t checked_integer(const json& value, const std::string& shown, int64_t low, int64_t high) {
  TESSERA_CHECK(value.is_number_integer(), format, shown, " is not an integer");
  const bool too_large = value.is_number_unsigned() &&
                         value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  TESSERA_CHECK(!too_large, format, shown, " is not in ", low, "..", high);
  const int64_t number = value.get<int64_t>();
  TESSERA_CHECK(number >= low && number <= high, format, shown, " is not in ", low, "..", high);
  return number;
}

double checked_number(const json& value, const std::string& shown, double low, double high) {
  TESSERA_CHECK(value.is_number(), format, shown, " is not a number");
  const double number = value.get<double>();
  TESSERA_CHECK(std::isfinite(number) && number >= low && number <= high, format, shown, " is not in ", low,
                "..", high);
  return number;
}

}  // namespace

ConfigReader::ConfigReader(const json& object, std::string prefix)
    : object_(&object), prefix_(std::move(prefix)) {}

const json* ConfigReader::find(const std::string& key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::string ConfigReader::show(const std::string& key) const {
  const auto it = object_->find(key);
  if (it == object_->end()) return cat(prefix_, key, " (absent)");
  return cat(prefix_, key, "=", show_value(*it));
}

bool ConfigReader::has(const std::string& key) const {
  return find(key) != nullptr;
}

bool ConfigReader::is_null(const std::string& key) const {
  const auto it = object_->find(key);
  return it != object_->end() && it->is_null();
}

int64_t ConfigReader::integer(const std::string& key, int64_t low, int64_t high) const {
  const json* value = find(key);
  TESSERA_CHECK(value, format, "config.json lacks ", prefix_, key);
  return checked_integer(*value, show(key), low, high);
}

int64_t ConfigReader::integer_or(const std::string& key, int64_t fallback, int64_t low, int64_t high) const {
  return find(key) ? integer(key, low, high) : fallback;
}

double ConfigReader::number(const std::string& key, double low, double high) const {
  const json* value = find(key);
  TESSERA_CHECK(value, format, "config.json lacks ", prefix_, key);
  return checked_number(*value, show(key), low, high);
}

double ConfigReader::number_or(const std::string& key, double fallback, double low, double high) const {
  return find(key) ? number(key, low, high) : fallback;
}

bool ConfigReader::flag_or(const std::string& key, bool fallback) const {
  const json* value = find(key);
  if (!value) return fallback;
  TESSERA_CHECK(value->is_boolean(), format, show(key), " is not true or false");
  return value->get<bool>();
}

std::string ConfigReader::text_or(const std::string& key, const std::string& fallback) const {
  const json* value = find(key);
  if (!value) return fallback;
  TESSERA_CHECK(value->is_string(), format, show(key), " is not a string");
  return value->get<std::string>();
}

std::vector<std::string> ConfigReader::texts(const std::string& key, size_t most) const {
  const json* value = find(key);
  if (!value) return {};
  TESSERA_CHECK(value->is_array(), format, show(key), " is not a list of strings");
  TESSERA_CHECK(value->size() <= most, format, prefix_, key, " has ", value->size(), " entries, at most ",
                most, " are allowed");
  std::vector<std::string> result;
  for (const json& entry : *value) {
    TESSERA_CHECK(entry.is_string(), format, prefix_, key, " holds ", show_value(entry),
                  ", which is not a string");
    result.push_back(entry.get<std::string>());
  }
  return result;
}

std::vector<int64_t> ConfigReader::integers(const std::string& key, size_t most, int64_t low,
                                            int64_t high) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_array()) return {integer(key, low, high)};
  TESSERA_CHECK(value->size() <= most, format, prefix_, key, " has ", value->size(), " entries, at most ",
                most, " are allowed");
  std::vector<int64_t> result;
  for (const json& entry : *value) {
    result.push_back(checked_integer(entry, cat(prefix_, key, " entry ", show_value(entry)), low, high));
  }
  return result;
}

std::vector<double> ConfigReader::numbers(const std::string& key, size_t most, double low,
                                          double high) const {
  const json* value = find(key);
  if (!value) return {};
  TESSERA_CHECK(value->is_array(), format, show(key), " is not a list of numbers");
  TESSERA_CHECK(value->size() <= most, format, prefix_, key, " has ", value->size(), " entries, at most ",
                most, " are allowed");
  std::vector<double> result;
  for (const json& entry : *value) {
    result.push_back(checked_number(entry, cat(prefix_, key, " entry ", show_value(entry)), low, high));
  }
  return result;
}

ConfigReader ConfigReader::object(const std::string& key) const {
  const json* value = find(key);
  TESSERA_CHECK(value, format, "config.json lacks ", prefix_, key);
  TESSERA_CHECK(value->is_object(), format, show(key), " is not an object");
  return ConfigReader(*value, prefix_ + key + ".");
}

bool ConfigReader::has_object(const std::string& key) const {
  const json* value = find(key);
  if (!value) return false;
  TESSERA_CHECK(value->is_object(), format, show(key), " is not an object");
  return !value->empty();
}

std::string quoted(const std::string& text) {
  return show_value(json(text));
}

json parse_config_json(const std::string& text) {
  TESSERA_CHECK(text.size() <= kMaxConfigBytes, format, "config.json has ", text.size(), " bytes, at most ",
                kMaxConfigBytes, " are allowed");
  // Depth is bounded while parsing: what works on the tree afterwards may recurse.
  const auto bound_depth = [](int depth, json::parse_event_t, json&) {
    TESSERA_CHECK(depth <= kMaxDepth, format, "config.json is nested deeper than ", kMaxDepth, " levels");
    return true;
  };
  json root;
  try {
    root = json::parse(text, bound_depth);
  } catch (const json::parse_error& error) {
    throw Error(Code::format, cat("config.json is not valid JSON at byte ", error.byte));
  } catch (const json::exception&) {
    throw Error(Code::format,
                "config.json is not valid JSON: a number or string in it cannot be represented");
  }
  TESSERA_CHECK(root.is_object(), format, "config.json holds ", show_value(root), ", not an object");
  return root;
}

}  // namespace tessera
