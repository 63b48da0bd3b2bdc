// Reading boxes of tensors out of safetensors files and checkpoint directories.
#include "checkpoint/safetensors.h"

#include <c10/core/ScalarType.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "checkpoint/box_io.h"
#include "core/file_io.h"
#include "checkpoint/names.h"
#include "core/error.h"

namespace tessera {
namespace {

// The largest stretch of a file that is read at once to pick small runs from.
constexpr int64_t kWindowBytes = int64_t{1} << 20;
// Runs of at least this size are read on their own.
constexpr int64_t kLargeRun = int64_t{16} << 10;
// Open descriptors of one reader. A checkpoint may have hundreds of files, and a process several rank
// threads.
constexpr size_t kOpenFiles = 16;

// Reads runs in ascending order. Small runs that lie close together come out of one larger read.
class RunReader {
 public:
  // `dense`: the box takes a good part of the bytes between its first and its last.
  RunReader(const FileHandle& file, const std::string& path, int64_t end, bool dense)
      : file_(file), path_(path), end_(end), dense_(dense) {}

  void read(int64_t offset, void* out, int64_t bytes) {
    if (!dense_ || bytes >= kLargeRun) return read_at(file_, path_, offset, out, bytes);
    if (offset + bytes > window_begin_ + window_bytes_ || offset < window_begin_) {
      if (window_.empty()) window_.resize(kWindowBytes);
      window_begin_ = offset;
      window_bytes_ = std::min(kWindowBytes, end_ - offset);
      read_at(file_, path_, offset, window_.data(), window_bytes_);
    }
    std::memcpy(out, window_.data() + (offset - window_begin_), bytes);
  }

 private:
  const FileHandle& file_;
  const std::string& path_;
  int64_t end_;  // of the box's last run
  bool dense_;
  std::vector<char> window_;
  int64_t window_begin_ = 0;
  int64_t window_bytes_ = 0;
};

bool convertible(at::ScalarType from, at::ScalarType to) {
  if (from == to) return true;
  const auto kind = [](at::ScalarType type) {
    return c10::isComplexType(type) ? 2 : c10::isFloatingType(type) || c10::isFloat8Type(type) ? 1 : 0;
  };
  return kind(from) <= kind(to);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  handle_ = std::make_shared<FileHandle>(open_for_read(path));
  struct stat status{};
  if (::fstat(handle_->get(), &status) != 0) throw os_error(cat("cannot stat ", path), errno);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  file_bytes_ = status.st_size;
  TESSERA_CHECK(file_bytes_ >= 8, format, path, ": ", file_bytes_,
                " bytes are too few for a safetensors file");
  unsigned char prefix[8];
  read_at(*handle_, path, 0, prefix, 8);
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | prefix[i];
  TESSERA_CHECK(header_bytes <= kMaxHeaderBytes, format, path, ": header length ", header_bytes,
                " is above the limit of ", kMaxHeaderBytes);
  data_begin_ = 8 + static_cast<int64_t>(header_bytes);
  TESSERA_CHECK(data_begin_ <= file_bytes_, format, path, ": header length ", header_bytes,
                " reaches beyond the ", file_bytes_, " bytes of the file");
  std::string header(header_bytes, '\0');
  read_at(*handle_, path, 8, header.data(), static_cast<int64_t>(header_bytes));
  try {
    entries_ = parse_safetensors_header(header, file_bytes_ - data_begin_);
  } catch (const Error& error) {
    throw Error(error.code(), cat(path, ": ", error.what()));
  }
  index_.reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);
}

SafetensorsFile::~SafetensorsFile() = default;

const TensorEntry* SafetensorsFile::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &entries_[it->second];
}

std::shared_ptr<FileHandle> SafetensorsFile::handle() const {
  const std::lock_guard lock(mutex_);
  if (!handle_) {
    auto file = std::make_shared<FileHandle>(open_for_read(path_));
    struct stat status{};
    if (::fstat(file->get(), &status) != 0) throw os_error(cat("cannot stat ", path_), errno);
    TESSERA_CHECK(status.st_dev == device_ && status.st_ino == inode_ && status.st_size == file_bytes_, io,
                  path_, " changed while it was being read");
    handle_ = std::move(file);
  }
  return handle_;
}

void SafetensorsFile::release_handle() const {
  const std::lock_guard lock(mutex_);
  handle_.reset();
}

void SafetensorsFile::read(const TensorEntry& entry, const Box& box, const at::Tensor& out) const {
  TESSERA_CHECK(box.fits(entry.shape), argument, "tensor ", printable(entry.name),
                ": the box lies outside its shape ", shape_text(entry.shape));
  TESSERA_CHECK(out.sizes() == at::IntArrayRef(box.size) && out.is_contiguous(), argument, "tensor ",
                printable(entry.name), ": the output is not a contiguous tensor of shape ",
                shape_text(box.size));
  TESSERA_CHECK(convertible(entry.dtype, out.scalar_type()), unsupported, "tensor ", printable(entry.name),
                ": ", c10::toString(entry.dtype), " in ", path_, " does not convert to ",
                c10::toString(out.scalar_type()));
  const int64_t numel = box.numel();
  if (numel == 0) return;
  const std::shared_ptr<FileHandle> file = handle();
  const int64_t item = static_cast<int64_t>(c10::elementSize(entry.dtype));
  const int64_t base = data_begin_ + entry.begin;

  int64_t first = -1, last = 0;  // elements of the tensor that the box spans
  {
    int64_t stride = 1, low = 0, high = 0;
    for (size_t d = entry.shape.size(); d-- > 0;) {
      low += box.offset[d] * stride;
      high += (box.offset[d] + box.size[d] - 1) * stride;
      stride *= entry.shape[d];
    }
    first = low;
    last = high + 1;
  }
  RunReader reader(*file, path_, base + last * item, numel > (last - first) / 8);

  read_box(entry.shape, entry.dtype, box, out,
           [&](int64_t offset, void* to, int64_t bytes) { reader.read(base + offset, to, bytes); });
}

CheckpointReader::CheckpointReader(const std::string& directory) : directory_(directory) {
  TESSERA_CHECK(is_directory(directory), not_found, directory, " is not a directory");
  const std::string single = join_path(directory, "model.safetensors");
  const std::string index = join_path(directory, "model.safetensors.index.json");
  // Both may be there; transformers takes the single file then.
  if (path_exists(single)) {
    files_.push_back(std::make_unique<SafetensorsFile>(single));
    const auto& entries = files_[0]->entries();
    for (size_t i = 0; i < entries.size(); ++i) index_.emplace(entries[i].name, std::pair(size_t{0}, i));
    recent_.push_back(0);
  } else if (path_exists(index)) {
    load_index(index);
  } else {
    const bool pickled = path_exists(join_path(directory, "pytorch_model.bin")) ||
                         path_exists(join_path(directory, "pytorch_model.bin.index.json"));
    TESSERA_CHECK(!pickled, unsupported, directory,
                  " holds pytorch_model.bin: convert it to safetensors first");
    throw Error(Code::not_found,
                cat(directory, " holds neither model.safetensors nor model.safetensors.index.json"));
  }
}

void CheckpointReader::load_index(const std::string& path) {
  std::map<std::string, std::string> weight_map;
  try {
    weight_map = parse_weight_map(read_text(path, kMaxHeaderBytes));
  } catch (const Error& error) {
    if (error.code() != Code::format) throw;
    throw Error(Code::format, cat(path, ": ", error.what()));
  }
  std::map<std::string, size_t> numbers;
  for (const auto& [tensor, name] : weight_map) numbers.emplace(name, 0);
  for (auto& [name, number] : numbers) {
    const std::string file = join_path(directory_, name);
    TESSERA_CHECK(path_exists(file), not_found, path, " names ", printable(name), ", which does not exist");
    number = files_.size();
    files_.push_back(std::make_unique<SafetensorsFile>(file));
    files_.back()->release_handle();
  }
  for (const auto& [tensor, name] : weight_map) {
    const SafetensorsFile& file = *files_[numbers[name]];
    const TensorEntry* entry = file.find(tensor);
    if (!entry) {
      std::string elsewhere;
      for (const auto& other : files_) {
        if (other->find(tensor)) elsewhere = cat(" (it is in ", other->path(), ")");
      }
      throw Error(Code::format, cat(path, " sends tensor ", printable(tensor), " to ", name,
                                    ", which lacks it", elsewhere));
    }
    index_.emplace(tensor, std::pair(numbers[name], static_cast<size_t>(entry - file.entries().data())));
  }
}

bool CheckpointReader::contains(const std::string& name) const {
  return index_.count(name) > 0;
}

const std::pair<size_t, size_t>& CheckpointReader::locate(const std::string& name) const {
  const auto it = index_.find(name);
  if (it == index_.end()) {
    throw Error(Code::not_found,
                cat("no tensor ", printable(name), " in ", directory_, near_names_hint(name, names())));
  }
  return it->second;
}

const TensorEntry& CheckpointReader::entry(const std::string& name) const {
  const auto& [file, entry] = locate(name);
  return files_[file]->entries()[entry];
}

std::vector<std::string> CheckpointReader::names() const {
  std::vector<std::string> out;
  out.reserve(index_.size());
  for (const auto& [name, place] : index_) out.push_back(name);
  return out;
}

void CheckpointReader::read(const std::string& name, const std::vector<int64_t>& expected_shape,
                            const Box& box, const at::Tensor& out) const {
  const auto [number, index] = locate(name);
  const SafetensorsFile& file = *files_[number];
  const TensorEntry& entry = file.entries()[index];
  TESSERA_CHECK(entry.shape == expected_shape, format, "tensor ", printable(name), " has shape ",
                shape_text(entry.shape), " in ", file.path(), ", expected ", shape_text(expected_shape));
  {
    const std::lock_guard lock(mutex_);
    const auto known = std::find(recent_.begin(), recent_.end(), number);
    if (known != recent_.end()) recent_.erase(known);
    recent_.push_back(number);
    if (recent_.size() > kOpenFiles) {
      files_[recent_.front()]->release_handle();
      recent_.erase(recent_.begin());
    }
  }
  file.read(entry, box, out);
}

}  // namespace tessera
