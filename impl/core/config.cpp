// Key lookup with suggestions, value checks, and typed reads of Config.
#include "core/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace tessera {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return out;
}

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// Values come from files and hosts: what is quoted in a message stays short and on one line.
std::string quoted(std::string_view value) {
  constexpr size_t kMaxQuoted = 60;
  std::string out;
  for (const char c : value.substr(0, kMaxQuoted)) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  if (value.size() > kMaxQuoted) out += "...";
  return out;
}

/// Levenshtein distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string number_text(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::string bounds_text(const ConfigKey& key) {
  if (std::isfinite(key.min) && std::isfinite(key.max)) {
    return cat("between ", number_text(key.min), " and ", number_text(key.max));
  }
  if (std::isfinite(key.min)) return cat("at least ", number_text(key.min));
  return cat("at most ", number_text(key.max));
}

void check_bounds(const ConfigKey& key, double number, std::string_view value) {
  TESSERA_CHECK(number >= key.min && number <= key.max, argument, key.name, "=", quoted(value), " must be ",
                bounds_text(key));
}

int64_t parse_integer(const ConfigKey& key, std::string_view value) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  TESSERA_CHECK(error == std::errc() && end == value.data() + value.size(), argument, key.name, "=",
                quoted(value), " is not an integer");
  check_bounds(key, static_cast<double>(number), value);
  return number;
}

double parse_real(const ConfigKey& key, std::string_view value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  TESSERA_CHECK(error == std::errc() && end == value.data() + value.size() && std::isfinite(number), argument,
                key.name, "=", quoted(value), " is not a finite number");
  check_bounds(key, number, value);
  return number;
}

bool parse_flag(const ConfigKey& key, std::string_view value) {
  const std::string word = lower(value);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  TESSERA_CHECK(word == "false" || word == "no" || word == "off" || word == "0", argument, key.name, "=",
                quoted(value), " is not true or false");
  return false;
}

std::vector<double> parse_real_list(const ConfigKey& key, std::string_view value) {
  std::vector<double> numbers;
  for (const std::string& part : split_list(value)) numbers.push_back(parse_real(key, trim(part)));
  return numbers;
}

/// The text under which a value is kept: what get() and to_yaml() show.
std::string canonical(const ConfigKey& key, std::string_view value) {
  switch (key.type) {
    case KeyType::boolean:
      return parse_flag(key, value) ? "true" : "false";
    case KeyType::integer:
      return std::to_string(parse_integer(key, value));
    case KeyType::real:
      return number_text(parse_real(key, value));
    case KeyType::text:
      return std::string(value);
    case KeyType::choice: {
      const std::string word = lower(value);
      TESSERA_CHECK(std::find(key.choices.begin(), key.choices.end(), word) != key.choices.end(), argument,
                    key.name, "=", quoted(value), " is not one of ", join(key.choices, ", "));
      return word;
    }
    case KeyType::text_list:
      return join_list(split_list(value));
    case KeyType::real_list: {
      std::vector<std::string> parts;
      for (const double number : parse_real_list(key, value)) parts.push_back(number_text(number));
      return join(parts, ",");
    }
  }
  throw Error(Code::internal, cat(key.name, " has an unknown type"));
}

}  // namespace

std::string_view key_type_name(KeyType type) {
  switch (type) {
    case KeyType::boolean:
      return "boolean";
    case KeyType::integer:
      return "integer";
    case KeyType::real:
      return "real";
    case KeyType::text:
      return "text";
    case KeyType::choice:
      return "choice";
    case KeyType::text_list:
      return "list of text";
    case KeyType::real_list:
      return "list of reals";
  }
  return "unknown";
}

std::vector<std::string> split_list(std::string_view value) {
  std::vector<std::string> parts;
  std::string part;
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\' && i + 1 < value.size() && (value[i + 1] == ',' || value[i + 1] == '\\')) {
      part += value[++i];
    } else if (value[i] == ',') {
      parts.emplace_back(trim(part));
      part.clear();
    } else {
      part += value[i];
    }
  }
  parts.emplace_back(trim(part));
  return parts;
}

std::string join_list(const std::vector<std::string>& parts) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += ',';
    for (const char c : parts[i]) {
      if (c == ',' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

KeyTable::KeyTable(std::vector<ConfigKey> keys) : keys_(std::move(keys)) {
  for (size_t i = 0; i < keys_.size(); ++i) {
    ConfigKey& key = keys_[i];
    const bool fresh = index_.emplace(key.name, i).second;
    TESSERA_CHECK(fresh, internal, "config key ", key.name, " is declared twice");
    if (!key.default_value.empty()) key.default_value = canonical(key, key.default_value);
  }
}

const ConfigKey& KeyTable::find(std::string_view name) const {
  const auto found = index_.find(name);
  if (found != index_.end()) return keys_[found->second];
  const auto meant = nearest(name);
  throw Error(Code::not_found, meant ? cat("unknown key ", quoted(name), ", did you mean ", *meant)
                                     : cat("unknown key ", quoted(name)));
}

std::optional<std::string> KeyTable::nearest(std::string_view name) const {
  constexpr size_t kLongestName = 128;  // nobody meant a longer one, and the search below is quadratic
  if (name.empty() || name.size() > kLongestName) return std::nullopt;
  const std::string wanted = lower(name);
  const ConfigKey* best = nullptr;
  size_t best_distance = std::max<size_t>(2, wanted.size() / 3) + 1;
  for (const ConfigKey& key : keys_) {
    size_t distance = edit_distance(wanted, key.name);
    // "lr" means optimizer.lr, "tpp" probably parallel.tp.
    const size_t dot = key.name.find('.');
    if (dot != std::string::npos && wanted.find('.') == std::string::npos) {
      distance = std::min(distance, edit_distance(wanted, std::string_view(key.name).substr(dot + 1)));
    }
    if (distance < best_distance) {
      best = &key;
      best_distance = distance;
    }
  }
  if (best == nullptr) return std::nullopt;
  return best->name;
}

void Config::set(std::string_view name, std::string_view value) {
  const ConfigKey& key = table_->find(name);
  value = trim(value);
  TESSERA_CHECK(value.find('\0') == std::string_view::npos, argument, key.name, " contains a NUL byte");
  if (value.empty()) {
    values_.erase(key.name);
  } else {
    values_.insert_or_assign(key.name, canonical(key, value));
  }
}

std::string Config::get(std::string_view name) const {
  const ConfigKey& key = table_->find(name);
  const auto found = values_.find(name);
  return found == values_.end() ? key.default_value : found->second;
}

bool Config::is_set(std::string_view name) const {
  table_->find(name);
  return values_.find(name) != values_.end();
}

const std::string& Config::required(std::string_view name, KeyType type) const {
  const ConfigKey& key = table_->find(name);
  const bool textual = type == KeyType::text && (key.type == KeyType::text || key.type == KeyType::choice);
  TESSERA_CHECK(key.type == type || textual, internal, key.name, " is read as ", key_type_name(type),
                " but is ", key_type_name(key.type));
  const auto found = values_.find(name);
  const std::string& value = found == values_.end() ? key.default_value : found->second;
  TESSERA_CHECK(!value.empty(), argument, key.name, " is not set");
  return value;
}

bool Config::flag(std::string_view name) const {
  return required(name, KeyType::boolean) == "true";
}

int64_t Config::integer(std::string_view name) const {
  return parse_integer(table_->find(name), required(name, KeyType::integer));
}

double Config::real(std::string_view name) const {
  return parse_real(table_->find(name), required(name, KeyType::real));
}

std::string Config::text(std::string_view name) const {
  return required(name, KeyType::text);
}

std::vector<std::string> Config::text_list(std::string_view name) const {
  return split_list(required(name, KeyType::text_list));
}

std::vector<double> Config::real_list(std::string_view name) const {
  return parse_real_list(table_->find(name), required(name, KeyType::real_list));
}

}  // namespace tessera
