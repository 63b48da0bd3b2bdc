// Key/value configuration: a table of typed keys with bounds and documentation, and the values set on top of
// it. The keys of a training recipe are in train/recipe_keys.h.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace tessera {

enum class KeyType : int {
  boolean = 0,  ///< true | false (yes, no, on, off, 1, 0 are read too)
  integer = 1,  ///< int64
  real = 2,     ///< finite double
  text = 3,
  choice = 4,     ///< one of ConfigKey::choices
  text_list = 5,  ///< comma separated, or a YAML sequence; a backslash keeps a comma or backslash as it is
  real_list = 6,  ///< comma separated
};

std::string_view key_type_name(KeyType type);

/// One key. An empty default means that the key has none: it is unset until somebody sets it.
struct ConfigKey {
  std::string name;  ///< dotted: optimizer.lr
  KeyType type = KeyType::text;
  std::string default_value;
  double min = -std::numeric_limits<double>::infinity();  ///< inclusive, for integer, real and real_list
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;
  std::string doc;  ///< one or two sentences for a person
};

/// An immutable set of keys, in the order in which they are shown.
class KeyTable {
 public:
  explicit KeyTable(std::vector<ConfigKey> keys);

  const std::vector<ConfigKey>& keys() const { return keys_; }
  /// Throws not_found, suggesting the nearest key.
  const ConfigKey& find(std::string_view name) const;
  bool contains(std::string_view name) const { return index_.find(name) != index_.end(); }
  /// The key that was probably meant, or nothing.
  std::optional<std::string> nearest(std::string_view name) const;

 private:
  std::vector<ConfigKey> keys_;
  std::map<std::string, size_t, std::less<>> index_;
};

/// Values for the keys of a table, which must outlive it. Every value is checked when it is set. Not
/// thread-safe.
class Config {
 public:
  explicit Config(const KeyTable& table) : table_(&table) {}

  const KeyTable& table() const { return *table_; }

  /// Errors name key, value and bounds. An empty value goes back to the default.
  void set(std::string_view name, std::string_view value);
  /// Sets keys from a YAML (or JSON) document of nested maps: `optimizer: {lr: 1e-4}` is optimizer.lr. All or
  /// nothing; errors name `source` and the line.
  void load_yaml(const std::string& text, const std::string& source = "config");
  void load_file(const std::string& path);

  /// Canonical text of the value or default; empty when the key is unset and has no default.
  std::string get(std::string_view name) const;
  /// True when there is a value or a default.
  bool has(std::string_view name) const { return !get(name).empty(); }
  /// True when somebody set the key.
  bool is_set(std::string_view name) const;

  /// Typed reads. A key that is unset and has no default throws argument: "model.path is not set".
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  std::string text(std::string_view name) const;
  std::vector<std::string> text_list(std::string_view name) const;
  std::vector<double> real_list(std::string_view name) const;

  /// The keys that were set, as YAML that load_yaml reads back to the same values.
  std::string to_yaml() const;

 private:
  const std::string& required(std::string_view name, KeyType type) const;

  const KeyTable* table_;
  std::map<std::string, std::string, std::less<>> values_;
};

/// Splits a text_list value at commas that are not escaped; join_list is its inverse.
std::vector<std::string> split_list(std::string_view value);
std::string join_list(const std::vector<std::string>& parts);

}  // namespace tessera
