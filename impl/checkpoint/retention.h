// The checkpoints of a run: output_dir/checkpoint-<step>, which one is the newest whole one, and how many are
// kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/group.h"

namespace tessera {

struct SavedCheckpoint {
  int64_t step = 0;
  std::string directory;
};

/// output_dir/checkpoint-<step>.
std::string checkpoint_directory(const std::string& output_dir, int64_t step);

/// Checkpoints by ascending step. Only directories with an index: a save that died has none. An absent
/// output_dir has no checkpoints.
std::vector<SavedCheckpoint> list_checkpoints(const std::string& output_dir);

/// Collective. The newest checkpoint whose index and file sizes are whole, as group rank 0 sees it; the same
/// on all ranks. Damaged newer ones are passed over with a warning in the log.
std::optional<SavedCheckpoint> newest_checkpoint(const std::string& output_dir, Group& group,
                                                 at::Device device = at::kCPU);

/// Removes all but the newest `keep` checkpoints and returns how many went. One rank calls it.
int64_t prune_checkpoints(const std::string& output_dir, int64_t keep);

}  // namespace tessera
