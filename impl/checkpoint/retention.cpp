// Listing, choosing and pruning the checkpoints of a run.
#include "checkpoint/retention.h"

#include <algorithm>
#include <charconv>

#include "checkpoint/agreement.h"
#include "checkpoint/checkpoint_layout.h"
#include "core/file_io.h"
#include "checkpoint/training_checkpoint.h"
#include "core/error.h"
#include "core/log.h"

namespace tessera {
namespace {

constexpr std::string_view kPrefix = "checkpoint-";

std::optional<int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  const bool whole = error == std::errc() && end == name.data() + name.size() && step >= 0;
  // "007" and "-0" would be second names of a step.
  return whole && std::to_string(step) == name ? std::optional(step) : std::nullopt;
}

}  // namespace

std::string checkpoint_directory(const std::string& output_dir, int64_t step) {
  TESSERA_CHECK(step >= 0, argument, "step=", step, " is negative");
  return join_path(output_dir, std::string(kPrefix) + std::to_string(step));
}

std::vector<SavedCheckpoint> list_checkpoints(const std::string& output_dir) {
  std::vector<SavedCheckpoint> out;
  for (const std::string& name : list_directory(output_dir)) {
    const std::optional<int64_t> step = step_of(name);
    const std::string directory = join_path(output_dir, name);
    if (step && path_exists(join_path(directory, kCheckpointIndex))) out.push_back({*step, directory});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return out;
}

std::optional<SavedCheckpoint> newest_checkpoint(const std::string& output_dir, Group& group,
                                                 at::Device device) {
  std::string mine;
  together(group, device, cat("looking for checkpoints in ", output_dir), [&] {
    if (group.rank() != 0) return;
    std::vector<SavedCheckpoint> all = list_checkpoints(output_dir);
    for (; !all.empty(); all.pop_back()) {
      try {
        const TrainingCheckpoint whole(all.back().directory);
        mine = std::to_string(all.back().step);
        return;
      } catch (const Error& error) {
        log_warning("passing over a damaged checkpoint: ", error.what());
      }
    }
  });
  const std::string found = gather_texts(group, device, mine)[0];
  if (found.empty()) return std::nullopt;
  const int64_t step = std::stoll(found);
  return SavedCheckpoint{step, checkpoint_directory(output_dir, step)};
}

int64_t prune_checkpoints(const std::string& output_dir, int64_t keep) {
  TESSERA_CHECK(keep >= 1, argument, "keep=", keep, " would remove every checkpoint");
  const std::vector<SavedCheckpoint> all = list_checkpoints(output_dir);
  const int64_t excess = static_cast<int64_t>(all.size()) - keep;
  for (int64_t i = 0; i < excess; ++i) remove_checkpoint(all[i].directory);
  return std::max<int64_t>(excess, 0);
}

}  // namespace tessera
