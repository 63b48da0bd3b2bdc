// Parsing of the command line.
#include "arguments.h"

namespace cli {

std::string Arguments::option(const std::string& name, const std::string& fallback) const {
  const auto found = options.find(name);
  return found == options.end() ? fallback : found->second.back();
}

long long Arguments::integer(const char* key, long long fallback) const {
  const std::string value = text(key);
  return value.empty() ? fallback : std::stoll(value);
}

Arguments parse_arguments(const std::vector<std::string>& words, const std::map<std::string, bool>& allowed) {
  Arguments arguments;
  check(tessera_config_create, arguments.config.out());
  std::vector<std::pair<std::string, std::string>> settings;
  bool recipe = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.rfind("--", 0) == 0) {
      const size_t equals = word.find('=');
      const std::string name = word.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
      const auto option = allowed.find(name);
      if (option == allowed.end()) throw Failure("unknown option " + word);
      std::string value;
      if (option->second) {
        if (equals == std::string::npos && i + 1 == words.size()) throw Failure(word + " needs a value");
        value = equals == std::string::npos ? words[++i] : word.substr(equals + 1);
      }
      arguments.options[name].push_back(value);
    } else if (const size_t equals = word.find('='); equals != std::string::npos) {
      settings.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    } else {
      if (recipe) throw Failure("two recipes: " + word + " is neither key=value nor --option");
      check(tessera_config_load, arguments.config.get(), word.c_str());
      recipe = true;
    }
  }
  for (const auto& [key, value] : settings)
    check(tessera_config_set, arguments.config.get(), key.c_str(), value.c_str());
  return arguments;
}

}  // namespace cli
