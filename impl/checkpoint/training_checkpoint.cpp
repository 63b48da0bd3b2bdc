// Reading training checkpoints: a strict index, box intersection, and checksums of what is read.
#include "checkpoint/training_checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/agreement.h"
#include "checkpoint/box_io.h"
#include "checkpoint/checkpoint_layout.h"
#include "core/crc32c.h"
#include "core/file_io.h"
#include "checkpoint/json_sax.h"
#include "checkpoint/names.h"
#include "checkpoint/ownership.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace tessera {
namespace {

constexpr int64_t kMaxIndexBytes = int64_t{1} << 30;
constexpr size_t kOpenFiles = 16;

// Typed access to parsed JSON with errors that say what is wrong where.
const nlohmann::json& member(const nlohmann::json& object, const char* key, const std::string& where) {
  TESSERA_CHECK(object.is_object(), format, where, " is not an object");
  const auto it = object.find(key);
  TESSERA_CHECK(it != object.end(), format, where, " has no ", key);
  return *it;
}

int64_t whole_number(const nlohmann::json& value, const std::string& where) {
  TESSERA_CHECK(value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX, format, where,
                " is not a whole number >= 0");
  return value.get<int64_t>();
}

std::vector<int64_t> whole_numbers(const nlohmann::json& value, const std::string& where) {
  TESSERA_CHECK(value.is_array() && value.size() <= 64, format, where, " is not a short list of numbers");
  std::vector<int64_t> out;
  for (const nlohmann::json& item : value) out.push_back(whole_number(item, where));
  return out;
}

const std::string& text(const nlohmann::json& value, const std::string& where) {
  TESSERA_CHECK(value.is_string(), format, where, " is not a string");
  return value.get_ref<const std::string&>();
}

std::vector<uint32_t> checksums(const std::string& hex, int64_t blocks, const std::string& where) {
  TESSERA_CHECK(static_cast<int64_t>(hex.size()) == blocks * 8, format, where, " has ", hex.size() / 8,
                " checksums, expected ", blocks);
  std::vector<uint32_t> out(blocks);
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    TESSERA_CHECK(digit >= 0, format, where, " has a checksum that is not hexadecimal");
    out[i / 8] = out[i / 8] << 4 | static_cast<uint32_t>(digit);
  }
  return out;
}

// Reads bytes of one part in ascending order and checks each block that it touches.
class CheckedReader {
 public:
  CheckedReader(const FileHandle& file, const std::string& path, const std::string& name, int64_t begin,
                int64_t bytes, int64_t block_bytes, const std::vector<uint32_t>& crcs)
      : file_(file),
        path_(path),
        name_(name),
        begin_(begin),
        bytes_(bytes),
        block_bytes_(block_bytes),
        crcs_(crcs) {}

  void read(int64_t offset, void* out, int64_t bytes) {
    char* to = static_cast<char*>(out);
    while (bytes > 0) {
      const int64_t block = offset / block_bytes_;
      const int64_t first = block * block_bytes_;
      const int64_t size = std::min(block_bytes_, bytes_ - first);
      int64_t part;
      if (offset == first && bytes >= size) {
        part = size;
        read_block(block, first, size, to);
      } else {
        part = std::min(bytes, first + size - offset);
        if (loaded_ != block) {
          buffer_.resize(size);
          read_block(block, first, size, buffer_.data());
          loaded_ = block;
        }
        std::memcpy(to, buffer_.data() + (offset - first), part);
      }
      to += part;
      offset += part;
      bytes -= part;
    }
  }

 private:
  void read_block(int64_t block, int64_t first, int64_t size, char* to) {
    read_at(file_, path_, begin_ + first, to, size);
    TESSERA_CHECK(crc32c(to, size) == crcs_[block], format, path_, ": tensor ", printable(name_),
                  " is damaged: wrong checksum at bytes ", begin_ + first, " to ", begin_ + first + size);
  }

  const FileHandle& file_;
  const std::string& path_;
  const std::string& name_;
  int64_t begin_, bytes_, block_bytes_;
  const std::vector<uint32_t>& crcs_;
  std::vector<char> buffer_;
  int64_t loaded_ = -1;
};

}  // namespace

TrainingCheckpoint::TrainingCheckpoint(const std::string& directory) : directory_(directory) {
  const std::string index = join_path(directory, kCheckpointIndex);
  if (!path_exists(index)) {
    const CheckpointPaths paths(directory);
    const bool moved = !path_exists(paths.target) && path_exists(join_path(paths.old, kCheckpointIndex));
    throw Error(Code::not_found, cat("no checkpoint in ", directory, ": ", index, " does not exist",
                                     moved ? cat(" (a complete older one is in ", paths.old, ")") : ""));
  }
  const std::string content = read_text(index, kMaxIndexBytes);
  index_crc_ = crc32c(content.data(), content.size());
  try {
    parse(content);
  } catch (const Error& error) {
    throw Error(Code::format, cat(index, ": ", error.what()));
  } catch (const nlohmann::json::exception&) {
    throw Error(Code::format, cat(index, ": not valid json"));
  }
  for (const File& file : files_) {
    TESSERA_CHECK(path_exists(file.path), not_found, "checkpoint file ", file.path, " is missing");
    const int64_t bytes = file_bytes(open_for_read(file.path), file.path);
    TESSERA_CHECK(bytes == file.bytes, format, "checkpoint file ", file.path, " has ", bytes,
                  " bytes, expected ", file.bytes);
  }
}

TrainingCheckpoint::~TrainingCheckpoint() = default;

void TrainingCheckpoint::parse(const std::string& content) {
  check_json_depth(content);
  const nlohmann::json json = nlohmann::json::parse(content);
  TESSERA_CHECK(text(member(json, "format", "the index"), "format") == kCheckpointFormat, format,
                "not a tessera checkpoint");
  const int64_t version = whole_number(member(json, "version", "the index"), "version");
  TESSERA_CHECK(version == kCheckpointVersion, format, "checkpoint version ", version,
                " is not supported, this library reads version ", kCheckpointVersion);
  block_bytes_ = whole_number(member(json, "block_bytes", "the index"), "block_bytes");
  TESSERA_CHECK(block_bytes_ > 0 && block_bytes_ <= (int64_t{1} << 26), format, "block_bytes=", block_bytes_,
                " is out of range");
  metadata_ = member(json, "metadata", "the index").dump();

  const nlohmann::json& files = member(json, "files", "the index");
  TESSERA_CHECK(files.is_array(), format, "files is not a list");
  for (const nlohmann::json& file : files) {
    const std::string& name = text(member(file, "name", "a file"), "a file name");
    TESSERA_CHECK(is_plain_name(name) && is_checkpoint_file(name), format, printable(name),
                  " is not the name of a checkpoint file");
    files_.push_back(
        {join_path(directory_, name), whole_number(member(file, "bytes", "a file"), "a file's bytes")});
  }

  const nlohmann::json& tensors = member(json, "tensors", "the index");
  TESSERA_CHECK(tensors.is_object(), format, "tensors is not an object");
  for (const auto& [name, value] : tensors.items()) {
    const std::string where = "tensor " + printable(name);
    Entry entry;
    const auto dtype = dtype_from_safetensors(text(member(value, "dtype", where), where + ": dtype"));
    TESSERA_CHECK(dtype, format, where, " has an unknown dtype");
    entry.dtype = *dtype;
    entry.shape = whole_numbers(member(value, "shape", where), where + ": shape");
    const auto item = static_cast<int64_t>(c10::elementSize(entry.dtype));
    TESSERA_CHECK(checked_numel(entry.shape) <= INT64_MAX / item, format, where,
                  " is larger than 64 bits can count");
    OwnedTensor cover{name, entry.dtype, entry.shape, {}};
    const nlohmann::json& parts = member(value, "parts", where);
    TESSERA_CHECK(parts.is_array(), format, where, ": parts is not a list");
    for (const nlohmann::json& source : parts) {
      Part part;
      const int64_t file = whole_number(member(source, "file", where), where + ": file");
      TESSERA_CHECK(file < static_cast<int64_t>(files_.size()), format, where, ": there is no file ", file);
      part.file = static_cast<size_t>(file);
      part.box = {whole_numbers(member(source, "offset", where), where + ": offset"),
                  whole_numbers(member(source, "size", where), where + ": size")};
      TESSERA_CHECK(part.box.fits(entry.shape), format, where, ": a part lies outside the shape ",
                    shape_text(entry.shape));
      const int64_t bytes = part.box.numel() * item;
      part.begin = whole_number(member(source, "begin", where), where + ": begin");
      TESSERA_CHECK(part.begin <= files_[part.file].bytes && bytes <= files_[part.file].bytes - part.begin,
                    format, where, ": a part reaches beyond its file");
      part.crcs = checksums(text(member(source, "crc32c", where), where + ": crc32c"),
                            bytes / block_bytes_ + (bytes % block_bytes_ != 0), where);
      cover.parts.push_back({static_cast<int>(part.file), part.box});
      entry.parts.push_back(std::move(part));
    }
    check_cover(cover);
    tensors_.emplace(name, std::move(entry));
  }
}

std::vector<std::string> TrainingCheckpoint::names() const {
  std::vector<std::string> out;
  out.reserve(tensors_.size());
  for (const auto& [name, entry] : tensors_) out.push_back(name);
  return out;
}

const TrainingCheckpoint::Entry& TrainingCheckpoint::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    throw Error(Code::not_found, cat("no tensor ", printable(name), " in checkpoint ", directory_,
                                     near_names_hint(name, names())));
  }
  return it->second;
}

std::shared_ptr<FileHandle> TrainingCheckpoint::open(size_t file) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, handle] : open_files_) {
    if (number == file) return handle;
  }
  auto handle = std::make_shared<FileHandle>(open_for_read(files_[file].path));
  if (open_files_.size() == kOpenFiles) open_files_.erase(open_files_.begin());
  open_files_.emplace_back(file, handle);
  return handle;
}

void TrainingCheckpoint::check(const std::string& name, const std::vector<int64_t>& expected_shape,
                               at::ScalarType dtype) const {
  const Entry& entry = find(name);
  TESSERA_CHECK(entry.shape == expected_shape, format, "tensor ", printable(name), " has shape ",
                shape_text(entry.shape), " in checkpoint ", directory_, ", expected ",
                shape_text(expected_shape));
  TESSERA_CHECK(c10::isFloatingType(entry.dtype) == c10::isFloatingType(dtype), format, "tensor ",
                printable(name), " is ", c10::toString(entry.dtype), " in checkpoint ", directory_,
                ", expected ", c10::toString(dtype));
}

void TrainingCheckpoint::read(const std::string& name, const std::vector<int64_t>& expected_shape,
                              const Box& box, const at::Tensor& out) const {
  check(name, expected_shape, out.scalar_type());
  const Entry& entry = find(name);
  TESSERA_CHECK(box.fits(entry.shape), argument, "tensor ", printable(name),
                ": the box lies outside its shape ", shape_text(entry.shape));
  TESSERA_CHECK(out.sizes() == at::IntArrayRef(box.size) && out.is_contiguous(), argument, "tensor ",
                printable(name), ": the output is not a contiguous tensor of shape ", shape_text(box.size));
  if (box.empty()) return;
  const at::NoGradGuard no_grad;
  for (const Part& part : entry.parts) read_part(entry, part, name, box, out);
}

void TrainingCheckpoint::read_part(const Entry& entry, const Part& part, const std::string& name,
                                   const Box& box, const at::Tensor& out) const {
  const Box shared = intersection(part.box, box);
  if (shared.empty()) return;
  Box in_part = shared;
  at::Tensor target = out.detach();
  for (size_t d = 0; d < shared.size.size(); ++d) {
    in_part.offset[d] -= part.box.offset[d];
    target = target.narrow(static_cast<int64_t>(d), shared.offset[d] - box.offset[d], shared.size[d]);
  }
  const bool direct = target.is_contiguous();
  const at::Tensor buffer = direct ? target : at::empty(shared.size, out.options().device(at::kCPU));
  const std::shared_ptr<FileHandle> file = open(part.file);
  const int64_t bytes = part.box.numel() * static_cast<int64_t>(c10::elementSize(entry.dtype));
  CheckedReader reader(*file, files_[part.file].path, name, part.begin, bytes, block_bytes_, part.crcs);
  read_box(part.box.size, entry.dtype, in_part, buffer,
           [&](int64_t offset, void* to, int64_t count) { reader.read(offset, to, count); });
  if (!direct) target.copy_(buffer);
}

std::string load_checkpoint(const std::string& directory, const std::vector<ShardedTensor>& tensors,
                            Group& group, const LoadOptions& options) {
  const std::string what = cat("loading ", directory);
  std::unique_ptr<TrainingCheckpoint> checkpoint;
  together(group, options.device, what, [&] {
    check_tensors(tensors);
    checkpoint = std::make_unique<TrainingCheckpoint>(directory);
  });
  // Ranks that see different checkpoints (a directory that is not shared) would otherwise load a mixture.
  const std::vector<std::string> seen =
      gather_texts(group, options.device, std::to_string(checkpoint->index_crc()));
  for (int rank = 1; rank < group.size(); ++rank) {
    TESSERA_CHECK(seen[rank] == seen[0], io, "rank ", group.world_ranks()[rank],
                  " sees another checkpoint in ", directory, " than rank ", group.world_ranks()[0]);
  }
  // Names and shapes first: nothing is overwritten when the checkpoint is of another model.
  const std::vector<std::string> names = checkpoint->names();
  at::Tensor wanted = at::zeros({static_cast<int64_t>(names.size())}, at::kInt);
  together(group, options.device, what, [&] {
    int32_t* flags = wanted.mutable_data_ptr<int32_t>();
    for (const ShardedTensor& tensor : tensors) {
      checkpoint->check(tensor.name, tensor.global_shape, tensor.local.scalar_type());
      flags[std::lower_bound(names.begin(), names.end(), tensor.name) - names.begin()] = 1;
    }
  });
  if (!options.allow_extra && !names.empty()) {
    wanted = wanted.to(options.device);
    group.all_reduce({wanted}, ReduceOp::max)->wait();
    wanted = wanted.cpu();
    const int32_t* flags = wanted.const_data_ptr<int32_t>();
    const int32_t* const end = flags + names.size();
    const int32_t* const extra = std::find(flags, end, 0);
    TESSERA_CHECK(extra == end, format, "checkpoint ", directory, " has ", std::count(flags, end, 0),
                  " tensors that nothing asks for, first ", printable(names[extra - flags]));
  }
  together(group, options.device, what, [&] {
    for (const ShardedTensor& tensor : tensors) {
      checkpoint->read(tensor.name, tensor.global_shape, tensor.box, tensor.local);
    }
  });
  return checkpoint->metadata();
}

}  // namespace tessera
