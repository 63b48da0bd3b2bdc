// Finding and loading the CUDA plugin.
#include "core/cuda_plugin.h"

#include <dlfcn.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"

namespace tessera {
namespace {

struct Loaded {
  const CudaPlugin* plugin = nullptr;
  void* library = nullptr;
  std::string failure = "libtessera_cuda.so is not installed beside libtessera.so";
};

/// The folder of the library this code is in, with a final slash.
std::string own_directory() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&cuda_plugin), &info) == 0 || !info.dli_fname) return "";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

Loaded load() {
  Loaded result;
  const std::string path = own_directory() + "libtessera_cuda.so";
  if (access(path.c_str(), F_OK) != 0) return result;
  // RTLD_LOCAL: nothing of CUDA leaks into the host's symbol space.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char* error = library ? nullptr : dlerror();
  if (!library) {
    result.failure = cat("libtessera_cuda.so cannot be loaded: ", error ? error : "unknown reason");
    log_at(LogLevel::warning, result.failure);
    return result;
  }
  using Entry = const CudaPlugin* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kCudaPluginSymbol));
  const CudaPlugin* plugin = entry ? entry() : nullptr;
  if (!plugin || plugin->abi != kCudaPluginAbi) {
    // Not closed again: LibTorch's CUDA libraries do not survive a dlclose.
    result.failure = "libtessera_cuda.so is of another build than libtessera.so";
    return result;
  }
  result.plugin = plugin;
  result.library = library;
  result.failure.clear();
  return result;
}

const Loaded& loaded() {
  static const Loaded result = load();
  return result;
}

}  // namespace

const CudaPlugin* cuda_plugin() {
  return loaded().plugin;
}

void* cuda_plugin_symbol(const char* name) {
  return loaded().library ? dlsym(loaded().library, name) : nullptr;
}

int cuda_capability(int device) {
  const CudaPlugin* plugin = cuda_plugin();
  return plugin ? plugin->capability(device) : 0;
}

std::string cuda_unavailable_reason() {
  const Loaded& state = loaded();
  if (!state.plugin) return state.failure;
  char reason[256] = "";
  return state.plugin->device_count(reason, sizeof reason) > 0 ? "" : reason;
}

}  // namespace tessera
