// Architectures in shared libraries of others: what such a library exports, and how it is loaded.
#pragma once

#include <torch/headeronly/version.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/family.h"

namespace tessera {

struct ModelPlugin {
  int32_t abi;                    ///< kModelPluginAbi
  const char* build;              ///< model_plugin_build()
  const Family* const* families;  ///< live as long as the process
  int32_t count;
};

inline constexpr int32_t kModelPluginAbi = 1;
inline constexpr const char* kModelPluginSymbol = "tessera_model_plugin";

/// What plugin and library must have in common, since objects of C++ cross between them: compiler, LibTorch
/// and the sizes of what crosses. It tells most builds apart, not all: build a plugin with the sources of the
/// library that loads it.
inline std::string model_plugin_build() {
  std::string text = "compiler " __VERSION__ ", LibTorch " TORCH_VERSION ", sizes";
  for (const size_t size : {sizeof(ModelConfig), sizeof(Family), sizeof(ParallelContext), sizeof(Microbatch),
                            sizeof(PackedBatch), sizeof(ParamSpec), sizeof(Saved), sizeof(HeadUnit)}) {
    text += ' ';
    text += std::to_string(size);
  }
  return text;
}

/// Loads a plugin, which stays for the life of the process, and returns its families. The file is made by
/// tessera_add_model_plugin() of cmake/ModelPlugin.cmake and has one TESSERA_MODEL_PLUGIN(&kMyFamily, ...).
/// Errors: not_found, io (no shared library that can be loaded), unsupported (of another build).
std::vector<const Family*> load_model_plugin(const std::string& path);

}  // namespace tessera

/// Exports families from a plugin.
#define TESSERA_MODEL_PLUGIN(...)                                               \
  extern "C" __attribute__((visibility("default"))) const tessera::ModelPlugin* \
  tessera_model_plugin() noexcept {                                             \
    static const tessera::Family* const families[] = {__VA_ARGS__};             \
    static const std::string build = tessera::model_plugin_build();             \
    static const tessera::ModelPlugin plugin = {                                \
        tessera::kModelPluginAbi, build.c_str(), families,                      \
        static_cast<int32_t>(sizeof(families) / sizeof(families[0]))};          \
    return &plugin;                                                             \
  }
