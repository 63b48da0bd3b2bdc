// Reading and writing Config as YAML.
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <set>

#include "core/config.h"

namespace tessera {
namespace {

constexpr size_t kMaxBytes = 1 << 20;
// Keys have two or three parts; a deeper document (or one that contains itself through an alias) is a
// mistake.
constexpr int kMaxDepth = 8;

/// Walks nested maps and calls set(name, value) for each leaf.
class Loader {
 public:
  Loader(Config& config, const std::string& source) : config_(config), source_(source) {}

  void map(const YAML::Node& node, const std::string& prefix, int depth) {
    check(depth <= kMaxDepth, node, cat("keys are nested more than ", kMaxDepth, " deep"));
    for (const auto& item : node) {
      check(item.first.IsScalar(), item.first, "a key must be text");
      const std::string name = prefix + item.first.Scalar();
      const YAML::Node& value = item.second;
      if (value.IsMap()) {
        map(value, name + ".", depth + 1);
      } else {
        leaf(item.first, name, value);
      }
    }
  }

  [[noreturn]] void fail(const YAML::Node& node, Code code, const std::string& message) const {
    const YAML::Mark mark = node.Mark();
    throw Error(
        code, mark.is_null() ? cat(source_, ": ", message) : cat(source_, ":", mark.line + 1, ": ", message));
  }

  void check(bool condition, const YAML::Node& node, const std::string& message) const {
    if (!condition) fail(node, Code::format, message);
  }

 private:
  void leaf(const YAML::Node& where, const std::string& name, const YAML::Node& value) {
    try {
      check(seen_.insert(name).second, where, cat(name, " is given twice"));
      config_.set(name, text(config_.table().find(name), value));
    } catch (const Error& error) {
      if (std::string_view(error.what()).substr(0, source_.size()) == source_) throw;
      fail(where, error.code(), error.what());
    }
  }

  std::string text(const ConfigKey& key, const YAML::Node& value) const {
    if (value.IsNull()) return "";
    if (value.IsScalar()) {
      // A YAML string is one element, so its commas are not separators; "0.9,0.95" written as numbers is a
      // list.
      return key.type == KeyType::text_list ? join_list({value.Scalar()}) : value.Scalar();
    }
    check(key.type == KeyType::text_list || key.type == KeyType::real_list, value,
          cat(key.name, " takes one value, not a list"));
    std::vector<std::string> parts;
    for (const auto& part : value) {
      check(part.IsScalar(), part, cat("elements of ", key.name, " must be plain values"));
      parts.push_back(part.Scalar());
    }
    return join_list(parts);
  }

  Config& config_;
  const std::string& source_;
  std::set<std::string> seen_;
};

}  // namespace

void Config::load_yaml(const std::string& text, const std::string& source) {
  TESSERA_CHECK(text.size() <= kMaxBytes, format, source, " has ", text.size(), " bytes, more than ",
                kMaxBytes);
  Config loaded = *this;
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull() || !root.IsDefined()) return;
    Loader loader(loaded, source);
    loader.check(root.IsMap(), root, "the document must be a map of keys");
    loader.map(root, "", 1);
  } catch (const YAML::Exception& error) {
    throw Error(Code::format, error.mark.is_null() ? cat(source, ": ", error.msg)
                                                   : cat(source, ":", error.mark.line + 1, ": ", error.msg));
  }
  values_ = std::move(loaded.values_);
}

void Config::load_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw os_error(cat("cannot open config ", path), errno);
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) throw os_error(cat("cannot read config ", path), errno);
  text.resize(static_cast<size_t>(file.gcount()));
  load_yaml(text, path);
}

std::string Config::to_yaml() const {
  YAML::Emitter out;
  out << YAML::BeginMap;
  for (const ConfigKey& key : table_->keys()) {
    const auto found = values_.find(key.name);
    if (found == values_.end()) continue;
    out << YAML::Key << key.name << YAML::Value;
    if (key.type == KeyType::text_list) {
      out << YAML::Flow << YAML::BeginSeq;
      for (const std::string& part : split_list(found->second)) out << YAML::DoubleQuoted << part;
      out << YAML::EndSeq;
    } else if (key.type == KeyType::text) {
      out << YAML::DoubleQuoted << found->second;
    } else {
      out << found->second;
    }
  }
  out << YAML::EndMap;
  return values_.empty() ? "" : cat(out.c_str(), "\n");
}

}  // namespace tessera
