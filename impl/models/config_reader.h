// Typed, bounded reading of a config.json: every value is checked before use, and errors name the key and the
// value.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace tessera {

/// A view of one JSON object. It does not own the object. `prefix` is put before key names in errors
/// ("rope_scaling.").
class ConfigReader {
 public:
  explicit ConfigReader(const nlohmann::json& object, std::string prefix = "");

  /// True when the key is there and not null.
  bool has(const std::string& key) const;
  /// True when the key is there and null: some keys mean something else when null than when absent.
  bool is_null(const std::string& key) const;

  /// Integers in [low, high]. The first form needs the key; the second takes `fallback` when it is absent or
  /// null.
  int64_t integer(const std::string& key, int64_t low, int64_t high) const;
  int64_t integer_or(const std::string& key, int64_t fallback, int64_t low, int64_t high) const;
  /// Finite numbers in [low, high].
  double number(const std::string& key, double low, double high) const;
  double number_or(const std::string& key, double fallback, double low, double high) const;
  bool flag_or(const std::string& key, bool fallback) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  /// A list of strings of at most `most` entries; empty when absent or null.
  std::vector<std::string> texts(const std::string& key, size_t most) const;
  /// One integer or a list of at most `most` integers; empty when absent or null.
  std::vector<int64_t> integers(const std::string& key, size_t most, int64_t low, int64_t high) const;
  /// A list of at most `most` finite numbers in [low, high]; empty when absent or null.
  std::vector<double> numbers(const std::string& key, size_t most, double low, double high) const;
  /// The object under `key`, which must be there.
  ConfigReader object(const std::string& key) const;
  /// True when the key holds an object that has entries.
  bool has_object(const std::string& key) const;
  /// "key=value" for errors, the value shortened.
  std::string show(const std::string& key) const;

 private:
  const nlohmann::json* find(const std::string& key) const;

  const nlohmann::json* object_;
  std::string prefix_;
};

/// A string from the file for errors: quoted, escaped to one line of ASCII, and shortened.
std::string quoted(const std::string& text);
/// So that std::quoted, which escapes no line ends, is never the better match.
inline std::string quoted(std::string& text) {
  return quoted(std::as_const(text));
}

/// Parses JSON from an untrusted source: at most 16 MiB, at most 64 levels, and an object on top.
nlohmann::json parse_config_json(const std::string& text);

}  // namespace tessera
