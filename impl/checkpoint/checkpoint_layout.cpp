// Names of checkpoint files and careful removal.
#include "checkpoint/checkpoint_layout.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "checkpoint/names.h"
#include "core/error.h"
#include "core/file_io.h"

namespace tessera {
namespace {

std::string five_digits(int number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

}  // namespace

std::string checkpoint_shard_name(int rank, int ranks) {
  return "shard-" + five_digits(rank) + "-of-" + five_digits(ranks) + ".safetensors";
}

bool is_checkpoint_file(std::string_view name) {
  return name == kCheckpointIndex ||
         (name.starts_with("shard-") && name.ends_with(".safetensors") && name.find("-of-") != name.npos);
}

CheckpointPaths::CheckpointPaths(const std::string& directory) {
  TESSERA_CHECK(!directory.empty() && directory.find('\0') == std::string::npos, argument,
                "the checkpoint directory has no usable name");
  std::error_code error;
  std::filesystem::path path = std::filesystem::weakly_canonical(directory, error);
  if (error) throw os_error(cat("cannot resolve ", directory), error.value());
  // "a/b/" has an empty last component.
  if (!path.has_filename()) path = path.parent_path();
  path = std::filesystem::absolute(path, error);
  if (error) throw os_error(cat("cannot resolve ", directory), error.value());
  const std::string name = path.filename().string();
  TESSERA_CHECK(is_plain_name(name), argument, directory, " cannot be a checkpoint directory");
  target = path.string();
  parent = path.parent_path().string();
  temporary = join_path(parent, "." + name + ".tmp");
  old = join_path(parent, "." + name + ".old");
  lock = join_path(parent, "." + name + ".lock");
}

void check_replaceable(const std::string& directory) {
  if (!path_exists(directory)) return;
  TESSERA_CHECK(is_directory(directory), argument, directory, " is not a directory");
  for (const std::string& name : list_directory(directory)) {
    TESSERA_CHECK(is_checkpoint_file(name), argument, directory, " holds ", printable(name),
                  ", which is not part of a checkpoint: choose another directory");
  }
}

void remove_checkpoint(const std::string& directory) {
  if (!path_exists(directory)) return;
  check_replaceable(directory);
  remove_tree(join_path(directory, kCheckpointIndex));
  flush_directory(directory);
  remove_tree(directory);
}

}  // namespace tessera
