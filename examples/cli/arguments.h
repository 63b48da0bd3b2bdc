// The command line: an optional recipe file, key=value settings, and the few --options that are not recipe
// keys.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "handle.h"

namespace cli {

struct Arguments {
  Config config;
  std::map<std::string, std::vector<std::string>> options;  ///< --name value, in order of appearance

  bool has(const std::string& option) const { return options.count(option) != 0; }
  /// The last value of an option, or `fallback`.
  std::string option(const std::string& name, const std::string& fallback = "") const;

  std::string text(const char* key) const { return config_get(config.get(), key); }
  bool flag(const char* key) const { return text(key) == "true"; }
  long long integer(const char* key, long long fallback) const;
};

/// `allowed` maps each option of the command to whether it takes a value. A recipe is loaded first, settings
/// go on top of it whatever their place. Throws Failure naming the argument.
Arguments parse_arguments(const std::vector<std::string>& words, const std::map<std::string, bool>& allowed);

}  // namespace cli
