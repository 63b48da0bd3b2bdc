// Saving a training checkpoint: one file per rank, an index, and a swap of directories.
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <unordered_map>

#include "checkpoint/agreement.h"
#include "checkpoint/box_io.h"
#include "checkpoint/checkpoint_layout.h"
#include "checkpoint/json_sax.h"
#include "checkpoint/names.h"
#include "checkpoint/ownership.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/training_checkpoint.h"
#include "checkpoint/writer_lock.h"
#include "core/crc32c.h"
#include "core/error.h"
#include "core/file_io.h"

namespace tessera {
namespace {

// The disk starts on a file in steps of this size while the rest is still being written.
constexpr int64_t kWritebackBytes = int64_t{8} << 20;

// What one rank wrote; the others learn it through its JSON text.
struct WrittenPart {
  std::string name;
  int64_t begin = 0;  // in the file
  std::string crcs;   // eight hex digits per block
};

void append_hex(std::string& out, uint32_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (int shift = 28; shift >= 0; shift -= 4) out += kDigits[value >> shift & 15];
}

// Collects checksums of blocks of a part whose bytes arrive in order.
class BlockChecksums {
 public:
  void add(const void* data, int64_t bytes) {
    const char* from = static_cast<const char*>(data);
    while (bytes > 0) {
      const int64_t part = std::min(bytes, kChecksumBlock - filled_);
      crc_ = crc32c(from, part, crc_);
      from += part;
      bytes -= part;
      filled_ += part;
      if (filled_ == kChecksumBlock) close();
    }
  }
  std::string take() {
    if (filled_ > 0) close();
    return std::move(hex_);
  }

 private:
  void close() {
    append_hex(hex_, crc_);
    crc_ = 0;
    filled_ = 0;
  }
  std::string hex_;
  uint32_t crc_ = 0;
  int64_t filled_ = 0;
};

// Writes this rank's file and returns the JSON text of its parts: [[name, begin, crcs], ...], preceded by its
// size.
std::string write_shard(const std::string& path, const std::vector<ShardedTensor>& tensors) {
  std::vector<TensorEntry> entries;
  std::vector<const ShardedTensor*> sources;
  int64_t data_bytes = 0;
  for (const ShardedTensor& tensor : tensors) {
    if (!tensor.owner || tensor.box.empty()) continue;
    const int64_t bytes =
        tensor.box.numel() * static_cast<int64_t>(c10::elementSize(tensor.local.scalar_type()));
    entries.push_back(
        {tensor.name, tensor.local.scalar_type(), tensor.box.size, data_bytes, data_bytes + bytes});
    sources.push_back(&tensor);
    data_bytes += bytes;
  }
  nlohmann::json parts = nlohmann::json::array();
  if (entries.empty()) return nlohmann::json{{"bytes", 0}, {"parts", parts}}.dump();

  const std::string header = build_safetensors_header(entries, {});
  const auto header_bytes = static_cast<int64_t>(header.size());
  const FileHandle file = open_for_write(path, /*create=*/true);
  reserve(file, path, header_bytes + data_bytes);
  write_at(file, path, 0, header.data(), header_bytes);
  int64_t written = header_bytes,
          started = 0;  // ends of what is written and of what is on its way to the disk
  for (size_t i = 0; i < entries.size(); ++i) {
    const int64_t base = header_bytes + entries[i].begin;
    BlockChecksums checksums;
    write_box(entries[i].shape, entries[i].dtype, Box::whole(entries[i].shape), sources[i]->local,
              [&](int64_t offset, const void* data, int64_t bytes) {
                // Block by block: the bytes are still in cache when they are written after their checksum.
                const char* from = static_cast<const char*>(data);
                for (int64_t done = 0; done < bytes; done += kChecksumBlock) {
                  const int64_t part = std::min(kChecksumBlock, bytes - done);
                  checksums.add(from + done, part);
                  write_at(file, path, base + offset + done, from + done, part);
                }
              });
    parts.push_back({entries[i].name, base, checksums.take()});
    written = header_bytes + entries[i].end;
    if (written - started >= kWritebackBytes) {
      start_writeback(file, started, written - started);
      started = written;
    }
  }
  flush_to_disk(file, path);
  return nlohmann::json{{"bytes", header_bytes + data_bytes}, {"parts", std::move(parts)}}.dump();
}

std::string index_text(const std::vector<OwnedTensor>& owned, const std::vector<std::string>& reports,
                       const nlohmann::json& metadata) {
  const int ranks = static_cast<int>(reports.size());
  nlohmann::json files = nlohmann::json::array();
  std::vector<int64_t> file_of(ranks, -1);
  std::vector<std::unordered_map<std::string, WrittenPart>> written(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const nlohmann::json report = nlohmann::json::parse(reports[rank]);
    if (report["parts"].empty()) continue;
    file_of[rank] = static_cast<int64_t>(files.size());
    files.push_back({{"name", checkpoint_shard_name(rank, ranks)}, {"bytes", report["bytes"]}});
    for (const nlohmann::json& part : report["parts"]) {
      written[rank][part[0].get<std::string>()] = {part[0], part[1], part[2]};
    }
  }
  nlohmann::json tensors = nlohmann::json::object();
  for (const OwnedTensor& tensor : owned) {
    nlohmann::json parts = nlohmann::json::array();
    for (const OwnedPart& part : tensor.parts) {
      const WrittenPart& where = written[part.rank].at(tensor.name);
      parts.push_back({{"file", file_of[part.rank]},
                       {"offset", part.box.offset},
                       {"size", part.box.size},
                       {"begin", where.begin},
                       {"crc32c", where.crcs}});
    }
    tensors[tensor.name] = {
        {"dtype", safetensors_dtype(tensor.dtype)}, {"shape", tensor.shape}, {"parts", std::move(parts)}};
  }
  const nlohmann::json index = {{"format", kCheckpointFormat},   {"version", kCheckpointVersion},
                                {"block_bytes", kChecksumBlock}, {"metadata", metadata},
                                {"files", std::move(files)},     {"tensors", std::move(tensors)}};
  return index.dump() + "\n";
}

// Clears what an earlier save left behind, and brings back a checkpoint that it had moved aside.
void prepare(const CheckpointPaths& paths) {
  check_replaceable(paths.target);
  if (path_exists(paths.old)) {
    if (path_exists(paths.target)) {
      remove_checkpoint(paths.old);
    } else {
      rename_path(paths.old, paths.target);
    }
  }
  remove_checkpoint(paths.temporary);
  make_directories(paths.temporary);
}

bool swap_directories(const std::string& a, const std::string& b) {
  constexpr unsigned kRenameExchange = 2;  // RENAME_EXCHANGE of linux/fs.h
  return ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), kRenameExchange) == 0;
}

void commit(const CheckpointPaths& paths) {
  check_replaceable(paths.target);
  if (!path_exists(paths.target)) {
    rename_path(paths.temporary, paths.target);
    flush_directory(paths.parent);
    return;
  }
  if (!swap_directories(paths.temporary, paths.target)) {
    // Not every network file system can swap. Between the two renames the older checkpoint is under another
    // name, from which prepare() brings it back.
    rename_path(paths.target, paths.old);
    rename_path(paths.temporary, paths.target);
  }
  flush_directory(paths.parent);
}

// Removes the replaced checkpoint, each rank some of its files: freeing gigabytes takes a file system a
// while.
void remove_replaced(const CheckpointPaths& paths, Group& group, at::Device device) {
  const std::string what = cat("removing what ", paths.target, " replaced");
  std::vector<std::string> files;
  together(group, device, what, [&] {
    for (const std::string& directory : {paths.temporary, paths.old}) {
      if (!path_exists(directory)) continue;
      check_replaceable(directory);
      if (group.rank() == 0) remove_tree(join_path(directory, kCheckpointIndex));
      for (const std::string& name : list_directory(directory)) {
        if (name != kCheckpointIndex) files.push_back(join_path(directory, name));
      }
    }
  });
  together(group, device, what, [&] {
    for (size_t i = group.rank(); i < files.size(); i += group.size()) remove_tree(files[i]);
  });
  together(group, device, what, [&] {
    if (group.rank() != 0) return;
    remove_tree(paths.temporary);
    remove_tree(paths.old);
  });
}

// Gives a full disk its room back. What cannot be removed, the next save will.
void remove_unfinished(const CheckpointPaths& paths) noexcept {
  try {
    remove_checkpoint(paths.temporary);
  } catch (const std::exception&) {
  }
}

class SaveThread : public PendingSave {
 public:
  SaveThread(std::string directory, std::vector<ShardedTensor> tensors, std::string metadata, GroupPtr group,
             at::Device device)
      : thread_([this, directory = std::move(directory), tensors = std::move(tensors),
                 metadata = std::move(metadata), group = std::move(group), device]() mutable {
          try {
            save_checkpoint(directory, tensors, metadata, *group, device);
          } catch (...) {
            error_ = std::current_exception();
          }
          tensors.clear();
          done_.store(true, std::memory_order_release);
        }) {}
  ~SaveThread() override {
    if (thread_.joinable()) thread_.join();
  }
  bool done() const override { return done_.load(std::memory_order_acquire); }
  void wait() override {
    if (thread_.joinable()) thread_.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
  std::atomic<bool> done_{false};
  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace

void save_checkpoint(const std::string& directory, const std::vector<ShardedTensor>& tensors,
                     const std::string& metadata, Group& group, at::Device device) {
  const std::string what = cat("saving ", directory);
  const std::vector<OwnedTensor> owned = gather_ownership(tensors, group, device);
  nlohmann::json metadata_json;
  std::optional<CheckpointPaths> paths;
  std::optional<WriterLock> lock;  // of rank 0
  together(group, device, what, [&] {
    paths.emplace(directory);
    check_json_depth(metadata);
    metadata_json = nlohmann::json::parse(metadata, nullptr, /*allow_exceptions=*/false);
    TESSERA_CHECK(!metadata_json.is_discarded(), argument, "metadata is not valid json");
    for (const OwnedTensor& tensor : owned) safetensors_dtype(tensor.dtype);
    if (group.rank() != 0) return;
    make_directories(paths->parent);
    lock.emplace(paths->lock, paths->target);
    prepare(*paths);
  });

  try {
    std::string report;
    together(group, device, what, [&] {
      report = write_shard(join_path(paths->temporary, checkpoint_shard_name(group.rank(), group.size())),
                           tensors);
    });
    const std::vector<std::string> reports = gather_texts(group, device, report);
    together(group, device, what, [&] {
      if (group.rank() != 0) return;
      write_text(join_path(paths->temporary, kCheckpointIndex), index_text(owned, reports, metadata_json));
      flush_directory(paths->temporary);
    });
  } catch (const Error&) {
    if (group.rank() == 0) remove_unfinished(*paths);
    throw;
  }
  together(group, device, what, [&] {
    if (group.rank() == 0) commit(*paths);
  });
  remove_replaced(*paths, group, device);
}

std::unique_ptr<PendingSave> save_checkpoint_async(const std::string& directory,
                                                   const std::vector<ShardedTensor>& tensors,
                                                   const std::string& metadata, GroupPtr group,
                                                   at::Device device) {
  const at::NoGradGuard no_grad;
  std::vector<ShardedTensor> copies;
  together(*group, device, cat("saving ", directory), [&] {
    for (const ShardedTensor& tensor : tensors) {
      ShardedTensor copy = tensor;
      if (tensor.owner && tensor.local.defined()) {
        copy.local =
            at::empty(tensor.local.sizes(), tensor.local.options().device(at::kCPU).requires_grad(false));
        copy.local.copy_(tensor.local);
      }
      copies.push_back(std::move(copy));
    }
  });
  return std::make_unique<SaveThread>(directory, std::move(copies), metadata, std::move(group), device);
}

}  // namespace tessera
