// POSIX file calls with retries for short and interrupted transfers.
#include "core/file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "core/error.h"

namespace tessera {
namespace {

// One transfer stays below 1 GiB: Linux caps a single read or write at 2 GiB - 4 KiB.
constexpr int64_t kTransferBytes = int64_t{1} << 30;

void check_no_nul(const std::string& path) {
  TESSERA_CHECK(path.find('\0') == std::string::npos, argument, "a path must not contain a zero byte");
}

int open_retry(const std::string& path, int flags, mode_t mode = 0666) {
  check_no_nul(path);
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

FileHandle::~FileHandle() {
  if (fd_ >= 0) ::close(fd_);
}

int FileHandle::release() noexcept {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

FileHandle open_for_read(const std::string& path) {
  // Without O_NONBLOCK a FIFO that nobody writes to would block forever.
  FileHandle file(open_retry(path, O_RDONLY | O_NONBLOCK));
  if (!file.is_open()) {
    const int errnum = errno;
    if (errnum == ENOENT || errnum == ENOTDIR) {
      throw Error(Code::not_found, cat(path, ": no such file"), -1, Domain::os, errnum);
    }
    throw os_error(cat("cannot open ", path), errnum);
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw os_error(cat("cannot stat ", path), errno);
  TESSERA_CHECK(S_ISREG(status.st_mode), io, path, " is not a regular file");
  return file;
}

FileHandle open_for_write(const std::string& path, bool create) {
  FileHandle file(open_retry(path, O_RDWR | (create ? O_CREAT | O_EXCL : 0)));
  if (!file.is_open()) throw os_error(cat("cannot write ", path), errno);
  return file;
}

int64_t file_bytes(const FileHandle& file, const std::string& path) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw os_error(cat("cannot stat ", path), errno);
  return status.st_size;
}

void read_at(const FileHandle& file, const std::string& path, int64_t offset, void* out, int64_t bytes) {
  char* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(file.get(), to, std::min(bytes, kTransferBytes), offset);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw os_error(cat("cannot read ", path), errno);
    }
    TESSERA_CHECK(got > 0, io, path, " ends at byte ", offset, ", ", bytes, " bytes too early");
    to += got;
    offset += got;
    bytes -= got;
  }
}

void write_at(const FileHandle& file, const std::string& path, int64_t offset, const void* data,
              int64_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(file.get(), from, std::min(bytes, kTransferBytes), offset);
    if (put < 0) {
      if (errno == EINTR) continue;
      throw os_error(cat("cannot write ", path), errno);
    }
    TESSERA_CHECK(put > 0, io, path, " takes no more bytes at offset ", offset);
    from += put;
    offset += put;
    bytes -= put;
  }
}

void reserve(const FileHandle& file, const std::string& path, int64_t bytes) {
  if (bytes == 0) return;
  // Not posix_fallocate: where the file system cannot reserve, that one writes a byte into every block.
  int status;
  do {
    status = ::fallocate(file.get(), 0, 0, bytes) == 0 ? 0 : errno;
  } while (status == EINTR);
  if (status == 0) return;
  if (status != EOPNOTSUPP && status != ENOSYS) {
    throw os_error(cat("cannot reserve ", bytes, " bytes for ", path), status);
  }
  if (::ftruncate(file.get(), bytes) != 0) throw os_error(cat("cannot resize ", path), errno);
}

void start_writeback(const FileHandle& file, int64_t offset, int64_t bytes) {
  static_cast<void>(::sync_file_range(file.get(), offset, bytes, SYNC_FILE_RANGE_WRITE));
}

void flush_to_disk(const FileHandle& file, const std::string& path) {
  if (::fsync(file.get()) != 0) throw os_error(cat("cannot flush ", path), errno);
}

std::string read_text(const std::string& path, int64_t limit) {
  const FileHandle file = open_for_read(path);
  const int64_t bytes = file_bytes(file, path);
  TESSERA_CHECK(bytes <= limit, format, path, " has ", bytes, " bytes, more than the limit of ", limit);
  std::string text(static_cast<size_t>(bytes), '\0');
  read_at(file, path, 0, text.data(), bytes);
  return text;
}

void write_text(const std::string& path, std::string_view text) {
  FileHandle file(open_retry(path, O_WRONLY | O_CREAT | O_TRUNC));
  if (!file.is_open()) throw os_error(cat("cannot write ", path), errno);
  write_at(file, path, 0, text.data(), static_cast<int64_t>(text.size()));
  flush_to_disk(file, path);
}

void flush_directory(const std::string& directory) {
  const FileHandle file(open_retry(directory, O_RDONLY | O_DIRECTORY));
  if (!file.is_open()) throw os_error(cat("cannot open ", directory), errno);
  // Some file systems cannot flush a directory and say so; there is nothing better to do there.
  if (::fsync(file.get()) != 0 && errno != EINVAL && errno != EROFS) {
    throw os_error(cat("cannot flush ", directory), errno);
  }
}

void rename_path(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw os_error(cat("cannot rename ", from, " to ", to), errno);
}

void make_directories(const std::string& path) {
  check_no_nul(path);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw os_error(cat("cannot create directory ", path), error.value());
  TESSERA_CHECK(is_directory(path), io, path, " is not a directory");
}

void remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) throw os_error(cat("cannot remove ", path), error.value());
}

bool path_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

std::vector<std::string> list_directory(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  if (!directory) {
    if (errno == ENOENT) return names;
    throw os_error(cat("cannot list ", path), errno);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> guard(directory, ::closedir);
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string join_path(const std::string& directory, const std::string& name) {
  if (directory.empty() || directory.back() == '/') return directory + name;
  return directory + '/' + name;
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\\') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace tessera
