// Writing a Hugging Face directory: every rank puts its own byte ranges into the final safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "comm/group.h"
#include "tensor/placement.h"

namespace tessera {

struct ExportOptions {
  /// Text of config.json; its dtype is set to that of the exported weights, and nothing is said to be
  /// quantized. Empty: no config.json is written.
  std::string config_json;
  /// Where tokenizer files, chat template and generation_config.json are copied from. Empty: none are.
  std::string source_directory;
  /// Floating tensors are converted to it, but for exact ones; absent: each keeps its own.
  std::optional<at::ScalarType> dtype;
  /// A file is closed before it would pass this size; one larger tensor has a file for itself.
  int64_t max_shard_bytes = 5'000'000'000;
  /// The device whose tensors `group` moves.
  at::Device device = at::kCPU;
};

/// Collective over `group`, whose ranks together own each element of each tensor exactly once (checked) and
/// share the file system; a rank may have several parts of one. Parts with owner == false are not written.
/// Data goes to temporary names, is flushed, and one rank renames at the end; until then an export that was
/// there before is whole. A crash between two renames leaves either a loadable directory or, when an export
/// in several files replaces one in as many files, one without an index: never old and new weights mixed.
/// Errors are the same on all ranks and name the failing one.
void export_hf(const std::string& directory, const std::vector<ShardedTensor>& tensors,
               const ExportOptions& options, Group& group);

/// One output file of an export: its name and its tensors with their byte ranges.
struct ExportFile {
  std::string name;
  std::vector<TensorEntry> entries;
  int64_t data_bytes = 0;
};

/// Distributes tensors over files in the given order, as huggingface_hub does: model.safetensors, or
/// model-00001-of-0000N.safetensors when they do not fit into one. `begin` and `end` of the inputs are not
/// read.
std::vector<ExportFile> plan_export(const std::vector<TensorEntry>& tensors, int64_t max_shard_bytes);

}  // namespace tessera
