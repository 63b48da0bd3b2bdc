// What the tests of files share: a directory that goes away, hand-made safetensors files, the code of an
// error.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "support/errors.h"

namespace tessera {

using testing::error_code;

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = ::testing::TempDir() + "/tessera_XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// The files of a directory, sorted.
inline std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string file_content(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

/// Length prefix, header and data of a file that may be wrong in any way.
inline std::string raw_safetensors(const std::string& header, const std::string& data = "") {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  return out + header + data;
}

/// A correct file of contiguous CPU tensors.
inline void write_safetensors(const std::string& path,
                              const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<TensorEntry> entries;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    TensorEntry entry{name, tensor.scalar_type(), tensor.sizes().vec(), static_cast<int64_t>(data.size()), 0};
    data.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    entry.end = static_cast<int64_t>(data.size());
    entries.push_back(entry);
  }
  write_file(path, build_safetensors_header(entries, {{"format", "pt"}}) + data);
}

}  // namespace tessera
