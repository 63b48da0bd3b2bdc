// Reading and laying out safetensors files (huggingface/safetensors: 8-byte little-endian header length, JSON header,
// tensor bytes). Every field of a file is checked before it is used: the file may be hostile.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tensor/placement.h"

namespace tessera {

struct TensorEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  int64_t begin = 0;  ///< byte range in the file's data section
  int64_t end = 0;
};

/// Parses and validates a header (without its length prefix): known dtypes, sizes that match shapes, ranges inside
/// `data_bytes`, no overlap, no duplicate names, no overflow. Errors have code format and name the tensor.
std::vector<TensorEntry> parse_safetensors_header(const std::string& json, int64_t data_bytes);

/// A read-only memory map of one file. Pages are touched only where they are read.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  const std::vector<TensorEntry>& entries() const { return entries_; }
  const TensorEntry* find(const std::string& name) const;
  /// Copies `box` of the tensor into `out` (box.size shaped, contiguous), converting to out's dtype.
  void read(const TensorEntry& entry, const Box& box, const at::Tensor& out) const;

 private:
  std::string path_;
  std::vector<TensorEntry> entries_;
  std::map<std::string, size_t> index_;
  const uint8_t* data_ = nullptr;
  const uint8_t* map_ = nullptr;
  size_t map_bytes_ = 0;
};

/// All tensors of a checkpoint directory: model.safetensors, or the files of model.safetensors.index.json.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::string& directory);
  bool contains(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;
  std::vector<std::string> names() const;
  /// Reads one box. Errors: not_found (with near names), format for a shape that differs from `expected_shape`.
  void read(const std::string& name, const std::vector<int64_t>& expected_shape, const Box& box,
            const at::Tensor& out) const;

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, std::pair<size_t, size_t>> index_;  // name -> file, entry
};

}  // namespace tessera
