// Planning, parallel writing and committing of a Hugging Face export.
#include "checkpoint/export.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "checkpoint/agreement.h"
#include "checkpoint/box_io.h"
#include "checkpoint/json_sax.h"
#include "checkpoint/names.h"
#include "checkpoint/ownership.h"
#include "checkpoint/writer_lock.h"
#include "core/error.h"
#include "core/file_io.h"

namespace tessera {
namespace {

// Inside the target directory, so that the renames stay on one file system.
constexpr const char* kTemporary = ".tessera-export";
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr int64_t kMaxSideFile = int64_t{1} << 30;

// What transformers keeps beside the weights and config.json.
constexpr const char* kSideFiles[] = {"generation_config.json",
                                      "tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "vocab.txt",
                                      "merges.txt",
                                      "tokenizer.model",
                                      "spiece.model",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "preprocessor_config.json",
                                      "processor_config.json"};

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  const auto five = [](size_t n) {
    const std::string digits = std::to_string(n);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return "model-" + five(index + 1) + "-of-" + five(count) + ".safetensors";
}

// Weight files of any export: "model.safetensors", "model-00001-of-00003.safetensors" and the index.
bool is_weight_file(const std::string& name) {
  return name == kIndexName || name == "model.safetensors" ||
         (name.starts_with("model-") && name.ends_with(".safetensors") &&
          name.find("-of-") != std::string::npos);
}

std::string_view config_dtype(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      throw Error(Code::unsupported, cat("config.json has no name for the weights' ", c10::toString(dtype)));
  }
}

// The floating dtype that most elements have.
at::ScalarType main_dtype(const std::vector<ExportFile>& files) {
  std::map<at::ScalarType, int64_t> bytes;
  for (const ExportFile& file : files) {
    for (const TensorEntry& entry : file.entries) {
      if (c10::isFloatingType(entry.dtype)) bytes[entry.dtype] += entry.end - entry.begin;
    }
  }
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? at::kFloat : most->first;
}

std::string config_with_dtype(const std::string& text, at::ScalarType dtype) {
  check_json_depth(text);
  nlohmann::ordered_json config;
  try {
    config = nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception&) {
    throw Error(Code::format, "config_json is not valid json");
  }
  TESSERA_CHECK(config.is_object(), format, "config_json is not a json object");
  config.erase("quantization_config");  // the weights of an export never are
  // transformers 5 writes dtype; torch_dtype is what older ones read.
  if (config.contains("torch_dtype")) config["torch_dtype"] = config_dtype(dtype);
  if (config.contains("dtype") || !config.contains("torch_dtype")) config["dtype"] = config_dtype(dtype);
  return config.dump(2) + "\n";
}

std::string index_text(const std::vector<ExportFile>& files) {
  nlohmann::json map = nlohmann::json::object();
  int64_t bytes = 0, parameters = 0;
  for (const ExportFile& file : files) {
    for (const TensorEntry& entry : file.entries) {
      map[entry.name] = file.name;
      bytes += entry.end - entry.begin;
      parameters += checked_numel(entry.shape);
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_parameters", parameters}, {"total_size", bytes}}},
                                {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

// Reserves one file and writes its header.
void create_file(const std::string& path, const ExportFile& file, const std::string& header) {
  const FileHandle handle = open_for_write(path, /*create=*/true);
  reserve(handle, path, static_cast<int64_t>(header.size()) + file.data_bytes);
  write_at(handle, path, 0, header.data(), static_cast<int64_t>(header.size()));
  flush_to_disk(handle, path);
}

// This rank's boxes of one file.
void write_parts(const std::string& path, const ExportFile& file, int64_t header_bytes,
                 const std::unordered_multimap<std::string, const ShardedTensor*>& mine) {
  FileHandle handle;
  for (const TensorEntry& entry : file.entries) {
    const int64_t base = header_bytes + entry.begin;
    const auto [first, last] = mine.equal_range(entry.name);
    for (auto it = first; it != last; ++it) {
      if (it->second->box.empty()) continue;
      if (!handle.is_open()) handle = open_for_write(path, /*create=*/false);
      write_box(entry.shape, entry.dtype, it->second->box, it->second->local,
                [&](int64_t offset, const void* data, int64_t bytes) {
                  write_at(handle, path, base + offset, data, bytes);
                });
    }
  }
  if (handle.is_open()) flush_to_disk(handle, path);
}

// Everything beside the weights, into the temporary directory.
void write_side_files(const std::string& temporary, const ExportOptions& options,
                      const std::vector<ExportFile>& files) {
  if (files.size() > 1) write_text(join_path(temporary, kIndexName), index_text(files));
  if (!options.source_directory.empty()) {
    for (const char* name : kSideFiles) {
      const std::string source = join_path(options.source_directory, name);
      if (path_exists(source)) write_text(join_path(temporary, name), read_text(source, kMaxSideFile));
    }
  }
  if (!options.config_json.empty()) {
    write_text(join_path(temporary, "config.json"),
               config_with_dtype(options.config_json, main_dtype(files)));
  }
}

// Moves the finished files into place. transformers prefers model.safetensors to an index, and an index
// decides which shards are read, so the order of the steps keeps every state in between loadable or loudly
// incomplete.
void commit(const std::string& directory, const std::string& temporary,
            const std::vector<ExportFile>& files) {
  flush_directory(temporary);
  bool replaces_shard = false;
  for (const ExportFile& file : files) {
    replaces_shard |= files.size() > 1 && path_exists(join_path(directory, file.name));
  }
  const std::string index = join_path(directory, kIndexName);
  if (replaces_shard && path_exists(index)) {
    remove_tree(index);
    flush_directory(directory);
  }
  std::vector<std::string> names = list_directory(temporary);
  // The index last: it switches from the old weights to the new ones.
  std::stable_partition(names.begin(), names.end(),
                        [](const std::string& name) { return name != kIndexName; });
  for (const std::string& name : names) rename_path(join_path(temporary, name), join_path(directory, name));
  flush_directory(directory);
  for (const std::string& name : list_directory(directory)) {
    if (is_weight_file(name) && !std::count(names.begin(), names.end(), name))
      remove_tree(join_path(directory, name));
  }
  remove_tree(temporary);
  flush_directory(directory);
}

}  // namespace

std::vector<ExportFile> plan_export(const std::vector<TensorEntry>& tensors, int64_t max_shard_bytes) {
  TESSERA_CHECK(max_shard_bytes > 0, argument, "max_shard_bytes=", max_shard_bytes, " is not positive");
  std::vector<ExportFile> files(1);
  for (TensorEntry entry : tensors) {
    int64_t bytes = 0;
    TESSERA_CHECK(!__builtin_mul_overflow(checked_numel(entry.shape),
                                          static_cast<int64_t>(c10::elementSize(entry.dtype)), &bytes),
                  argument, "tensor ", printable(entry.name), " is larger than 64 bits can count");
    if (!files.back().entries.empty() && bytes > max_shard_bytes - files.back().data_bytes)
      files.emplace_back();
    ExportFile& file = files.back();
    entry.begin = file.data_bytes;
    entry.end = file.data_bytes += bytes;
    file.entries.push_back(std::move(entry));
  }
  for (size_t i = 0; i < files.size(); ++i) files[i].name = shard_name(i, files.size());
  return files;
}

void export_hf(const std::string& directory, const std::vector<ShardedTensor>& tensors,
               const ExportOptions& options, Group& group) {
  const std::string what = cat("exporting to ", directory);
  const std::string temporary = join_path(directory, kTemporary);
  const std::vector<OwnedTensor> owned =
      gather_ownership(tensors, group, options.device, PartsOfRank::several);

  std::vector<ExportFile> files;
  std::vector<std::string> headers;
  std::optional<WriterLock> lock;  // of rank 0
  together(group, options.device, what, [&] {
    TESSERA_CHECK(!directory.empty(), argument, "the export directory has no name");
    std::vector<TensorEntry> entries;
    for (const OwnedTensor& tensor : owned) {
      const bool convert = options.dtype && !tensor.exact && c10::isFloatingType(tensor.dtype);
      entries.push_back({tensor.name, convert ? *options.dtype : tensor.dtype, tensor.shape});
    }
    files = plan_export(entries, options.max_shard_bytes);
    // Larger items first, as the reference writer does, so that every tensor starts at a multiple of its item
    // size.
    for (ExportFile& file : files) {
      std::stable_sort(file.entries.begin(), file.entries.end(),
                       [](const TensorEntry& a, const TensorEntry& b) {
                         return c10::elementSize(a.dtype) > c10::elementSize(b.dtype);
                       });
      int64_t next = 0;
      for (TensorEntry& entry : file.entries) {
        const int64_t bytes = entry.end - entry.begin;
        entry.begin = next;
        entry.end = next += bytes;
      }
      headers.push_back(build_safetensors_header(file.entries, {{"format", "pt"}}));
    }
    if (group.rank() != 0) return;
    make_directories(directory);
    lock.emplace(temporary + ".lock", directory);
    remove_tree(temporary);  // of an export that was killed
    make_directories(temporary);
  });

  try {
    together(group, options.device, what, [&] {
      for (size_t i = group.rank(); i < files.size(); i += group.size()) {
        create_file(join_path(temporary, files[i].name), files[i], headers[i]);
      }
      if (group.rank() == 0) write_side_files(temporary, options, files);
    });
    together(group, options.device, what, [&] {
      std::unordered_multimap<std::string, const ShardedTensor*> mine;
      for (const ShardedTensor& tensor : tensors) {
        if (tensor.owner) mine.emplace(tensor.name, &tensor);
      }
      for (size_t i = 0; i < files.size(); ++i) {
        write_parts(join_path(temporary, files[i].name), files[i], static_cast<int64_t>(headers[i].size()),
                    mine);
      }
    });
    together(group, options.device, what, [&] {
      if (group.rank() == 0) commit(directory, temporary, files);
    });
  } catch (const Error&) {
    // All ranks are here for the same reason and none writes any more; what cannot be removed, the next
    // export will.
    if (group.rank() == 0) {
      try {
        remove_tree(temporary);
      } catch (const Error&) {
      }
    }
    throw;
  }
}

}  // namespace tessera
