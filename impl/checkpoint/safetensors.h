// Reading and laying out safetensors files (huggingface/safetensors: 8-byte little-endian header length, JSON
// header, tensor bytes). Every field of a file is checked before it is used: the file may be hostile.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
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

/// Largest header that is read or written: the limit of the reference implementation.
inline constexpr int64_t kMaxHeaderBytes = 100'000'000;

/// "BF16" -> at::kBFloat16. Nothing for dtypes that LibTorch cannot hold (the sub-byte F4, F6_*) or unknown
/// ones.
std::optional<at::ScalarType> dtype_from_safetensors(std::string_view name);
/// at::kBFloat16 -> "BF16". Throws unsupported for dtypes that the format lacks.
std::string_view safetensors_dtype(at::ScalarType dtype);

/// Parses and validates a header (without its length prefix): known dtypes, sizes that match shapes, ranges
/// that cover `data_bytes` without holes, no overlap, no duplicate names, no overflow. Entries come in file
/// order. Errors have code format (unsupported for the sub-byte dtypes) and name the tensor.
std::vector<TensorEntry> parse_safetensors_header(std::string_view json, int64_t data_bytes);

/// The length prefix and header for entries whose ranges are set, padded with spaces so that the data starts
/// at a multiple of 8. `metadata` goes under "__metadata__".
std::string build_safetensors_header(const std::vector<TensorEntry>& entries,
                                     const std::map<std::string, std::string>& metadata);

class FileHandle;

/// One file, opened for reading of boxes. The header is read and checked at once, tensor bytes only where
/// asked for. Bytes come by pread and not through a memory map: a file that shrinks under its reader is then
/// an error instead of a SIGBUS, file pages do not count as memory of the process, and rank threads do not
/// meet on the lock of page faults. Thread-safe.
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
  /// Conversions among floating dtypes and among integers are made; float to integer and complex to real are
  /// unsupported.
  void read(const TensorEntry& entry, const Box& box, const at::Tensor& out) const;

  /// Gives the file descriptor back; the next read opens the file again and fails when it is not the same
  /// file.
  void release_handle() const;

 private:
  std::shared_ptr<FileHandle> handle() const;

  std::string path_;
  std::vector<TensorEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
  int64_t data_begin_ = 0;
  int64_t file_bytes_ = 0;
  uint64_t device_ = 0, inode_ = 0;  // identity of the file whose header was read
  mutable std::mutex mutex_;
  mutable std::shared_ptr<FileHandle> handle_;
};

/// All tensors of a checkpoint directory: model.safetensors, or the files of model.safetensors.index.json.
/// Thread-safe.
class CheckpointReader {
 public:
  /// Errors: not_found (no such directory, no weights in it, a file of the index missing), format, io.
  explicit CheckpointReader(const std::string& directory);
  bool contains(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;
  /// Sorted.
  std::vector<std::string> names() const;
  /// Reads one box. Errors: not_found (with near names), format for a shape that differs from
  /// `expected_shape`.
  void read(const std::string& name, const std::vector<int64_t>& expected_shape, const Box& box,
            const at::Tensor& out) const;

 private:
  const std::pair<size_t, size_t>& locate(const std::string& name) const;
  void load_index(const std::string& path);

  std::string directory_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, std::pair<size_t, size_t>> index_;  // name -> file, entry
  mutable std::mutex mutex_;
  mutable std::vector<size_t> recent_;  // files with an open descriptor, oldest first
};

/// Parses {"weight_map": {"<tensor>": "<file>"}}: plain file names only, no duplicates. Errors have code
/// format.
std::map<std::string, std::string> parse_weight_map(std::string_view json);

}  // namespace tessera
