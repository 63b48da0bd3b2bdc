// Training checkpoints: weights, optimizer state and metadata, saved by all ranks of one mesh and loaded by
// any other.
//
// A checkpoint is a directory: one safetensors file for each rank that owns something, and checkpoint.json
// with the caller's metadata and, for each tensor, its parts: which box lies at which bytes of which file,
// with a CRC-32C per block of 1 MiB. Loading intersects the wanted boxes with the saved ones and checks every
// block that it reads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/group.h"
#include "tensor/placement.h"

namespace tessera {

class FileHandle;

/// Collective over `group`, whose ranks together own each element exactly once (checked) and share the file
/// system. `metadata` is any JSON text. Everything is written and flushed under a temporary name beside
/// `directory`, which then replaces an older checkpoint of that name in one step: a save that dies leaves the
/// older one whole, and the next save clears its remains. Refuses to replace a directory that holds anything
/// else. Errors are the same on all ranks and name the failing one. `device` is the group's.
void save_checkpoint(const std::string& directory, const std::vector<ShardedTensor>& tensors,
                     const std::string& metadata, Group& group, at::Device device = at::kCPU);

/// A save under way on a thread of its own.
class PendingSave {
 public:
  virtual ~PendingSave() = default;  ///< waits
  virtual bool done() const = 0;
  /// Blocks until the save ended and throws its error. Idempotent.
  virtual void wait() = 0;
};

/// Collective. Copies the tensors to host memory and returns; the rest of save_checkpoint happens on a
/// thread. `group` must be for this alone: nobody else may use it until the save has ended.
std::unique_ptr<PendingSave> save_checkpoint_async(const std::string& directory,
                                                   const std::vector<ShardedTensor>& tensors,
                                                   const std::string& metadata, GroupPtr group,
                                                   at::Device device = at::kCPU);

struct LoadOptions {
  /// Accept tensors in the checkpoint that no rank asks for.
  bool allow_extra = false;
  at::Device device = at::kCPU;  ///< the group's
};

/// Collective. Fills `local` of every tensor (owner or not) from its box and returns the metadata. A tensor
/// that is missing (not_found), has another shape (format), or that no rank asks for (format) is an error, as
/// is any damaged or missing file; errors are the same on all ranks.
std::string load_checkpoint(const std::string& directory, const std::vector<ShardedTensor>& tensors,
                            Group& group, const LoadOptions& options = {});

/// A checkpoint opened for reading by one rank. Thread-safe.
class TrainingCheckpoint {
 public:
  /// Reads the index and checks it against the files' sizes. Errors: not_found, format, io.
  explicit TrainingCheckpoint(const std::string& directory);
  ~TrainingCheckpoint();
  TrainingCheckpoint(const TrainingCheckpoint&) = delete;
  TrainingCheckpoint& operator=(const TrainingCheckpoint&) = delete;

  const std::string& metadata() const { return metadata_; }
  /// Of the index file: equal on ranks that see the same checkpoint.
  uint32_t index_crc() const { return index_crc_; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  const std::vector<int64_t>& shape(const std::string& name) const { return find(name).shape; }
  at::ScalarType dtype(const std::string& name) const { return find(name).dtype; }

  /// Throws not_found (with near names) or format unless the checkpoint has this tensor with this shape,
  /// floating where `dtype` is.
  void check(const std::string& name, const std::vector<int64_t>& expected_shape, at::ScalarType dtype) const;

  /// Fills `out` (contiguous, box.size shaped), converting to its dtype. Memory beside `out`: one part's
  /// share of the box at most, and nothing when the parts follow each other in `out`.
  void read(const std::string& name, const std::vector<int64_t>& expected_shape, const Box& box,
            const at::Tensor& out) const;

 private:
  struct Part {
    size_t file = 0;
    Box box;
    int64_t begin = 0;  ///< first byte in the file
    std::vector<uint32_t> crcs;
  };
  struct Entry {
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> shape;
    std::vector<Part> parts;
  };
  struct File {
    std::string path;
    int64_t bytes = 0;
  };

  const Entry& find(const std::string& name) const;
  void parse(const std::string& text);
  void read_part(const Entry& entry, const Part& part, const std::string& name, const Box& box,
                 const at::Tensor& out) const;
  std::shared_ptr<FileHandle> open(size_t file) const;

  std::string directory_;
  std::string metadata_;
  uint32_t index_crc_ = 0;
  int64_t block_bytes_ = 0;
  std::vector<File> files_;
  std::map<std::string, Entry> tensors_;
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<size_t, std::shared_ptr<FileHandle>>> open_files_;  // oldest first
};

}  // namespace tessera
