// Names and numbers of the training checkpoint format, for its writer, its reader and the clean-up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

inline constexpr std::string_view kCheckpointFormat = "tessera-checkpoint";
inline constexpr int64_t kCheckpointVersion = 1;
inline constexpr const char* kCheckpointIndex = "checkpoint.json";
/// Bytes under one checksum.
inline constexpr int64_t kChecksumBlock = int64_t{1} << 20;

/// "shard-00002-of-00008.safetensors".
std::string checkpoint_shard_name(int rank, int ranks);
/// True for the names that a checkpoint consists of.
bool is_checkpoint_file(std::string_view name);

/// The names that one checkpoint directory goes by. Symbolic links are resolved, so that what a link points
/// to is replaced and not the link.
struct CheckpointPaths {
  explicit CheckpointPaths(const std::string& directory);

  std::string target;
  std::string parent;
  std::string temporary;  ///< beside target: what is being written
  std::string old;        ///< beside target: what is being replaced, where directories cannot be swapped
  std::string lock;       ///< beside target: held while it is being written
};

/// Removes a checkpoint, index first, so that a half-removed one is never taken for complete. Throws argument
/// without touching anything when the directory holds something else; an absent directory is fine.
void remove_checkpoint(const std::string& directory);

/// Throws argument when `directory` exists and holds anything that is not part of a checkpoint.
void check_replaceable(const std::string& directory);

}  // namespace tessera
