// Loading and checking of model plugins.
#include "models/plugin.h"

#include <dlfcn.h>

#include <filesystem>

#include "core/error.h"

namespace tessera {

std::vector<const Family*> load_model_plugin(const std::string& path) {
  std::error_code no_status;
  TESSERA_CHECK(std::filesystem::is_regular_file(path, no_status), not_found, "plugin=", quoted(path),
                " is no file");
  // With a slash dlopen looks nowhere else. RTLD_LOCAL: the plugin's copies of our symbols stay its own.
  const std::string absolute = std::filesystem::absolute(path, no_status).string();
  void* library = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    throw Error(Code::io, cat("plugin=", quoted(path), " cannot be loaded: ", reason ? reason : "unknown"));
  }
  // Never closed: models, and tensors that its code has made, may outlive any handle.
  using Entry = const ModelPlugin* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kModelPluginSymbol));
  TESSERA_CHECK(entry != nullptr, unsupported, "plugin=", quoted(path), " does not export ",
                kModelPluginSymbol);
  const ModelPlugin* plugin = entry();
  TESSERA_CHECK(plugin != nullptr && plugin->abi == kModelPluginAbi, unsupported, "plugin=", quoted(path),
                " is for another version of the interface");
  TESSERA_CHECK(plugin->build != nullptr && plugin->build == model_plugin_build(), unsupported,
                "plugin=", quoted(path), " was built with ", plugin->build ? plugin->build : "nothing known",
                ", this library with ", model_plugin_build());
  std::vector<const Family*> families;
  for (int32_t i = 0; i < plugin->count; ++i) {
    const Family* family = plugin->families[i];
    TESSERA_CHECK(family != nullptr && family->architecture != nullptr && family->model_type != nullptr &&
                      family->configure != nullptr && family->build != nullptr,
                  unsupported, "plugin=", quoted(path), ": family ", i, " lacks a name or a function");
    families.push_back(family);
  }
  TESSERA_CHECK(!families.empty(), unsupported, "plugin=", quoted(path), " has no families");
  return families;
}

}  // namespace tessera
