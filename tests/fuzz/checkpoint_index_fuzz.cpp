// Fuzzes the index of training checkpoints: opening a hostile one is a format or not_found error, never more.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "checkpoint/training_checkpoint.h"
#include "core/error.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// One directory for the life of the process.
struct Directory {
  Directory() {
    std::string pattern = std::filesystem::temp_directory_path() / "tessera_fuzz_XXXXXX";
    path = ::mkdtemp(pattern.data());
    // A file that an index may name: the seeds say 24 bytes.
    std::ofstream(path + "/shard-00000-of-00001.safetensors") << std::string(24, 'x');
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory directory;
  const std::string index = directory.path + "/checkpoint.json";
  // A new file each time: some file systems flush one that is truncated and written again.
  std::filesystem::remove(index);
  std::ofstream(index, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const tessera::TrainingCheckpoint checkpoint(directory.path);
    for (const std::string& name : checkpoint.names())
      require(tessera::checked_numel(checkpoint.shape(name)) >= 0);
  } catch (const tessera::Error& error) {
    require(error.code() == tessera::Code::format || error.code() == tessera::Code::not_found);
    require(std::strchr(error.what(), '\n') == nullptr);
  }
  return 0;
}
