// Files as checkpoints and caches need them: whole reads and writes at an offset, durable renames, errors
// that name the path.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// An open file; closes itself.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(other.release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int release() noexcept;

 private:
  int fd_ = -1;
};

/// Opens a regular file for reading. Errors: not_found, io (also for a directory or a device).
FileHandle open_for_read(const std::string& path);
/// Opens for writing without truncating; creates the file when `create`, which must then not exist yet.
FileHandle open_for_write(const std::string& path, bool create);

int64_t file_bytes(const FileHandle& file, const std::string& path);

/// Reads exactly `bytes`; a file that ends early is an io error, never a signal.
void read_at(const FileHandle& file, const std::string& path, int64_t offset, void* out, int64_t bytes);
void write_at(const FileHandle& file, const std::string& path, int64_t offset, const void* data,
              int64_t bytes);
/// Reserves the blocks of the whole file, so that a full disk shows up before any data is written.
void reserve(const FileHandle& file, const std::string& path, int64_t bytes);
/// Asks the system to begin writing a range, so that the flush at the end finds less to do. Only a hint.
void start_writeback(const FileHandle& file, int64_t offset, int64_t bytes);
void flush_to_disk(const FileHandle& file, const std::string& path);

/// The whole text of a file of at most `limit` bytes.
std::string read_text(const std::string& path, int64_t limit);
/// Writes and flushes a file that may exist already (not atomic: for files inside a temporary directory).
void write_text(const std::string& path, std::string_view text);

/// Makes creations and renames inside `directory` durable.
void flush_directory(const std::string& directory);
void rename_path(const std::string& from, const std::string& to);
/// mkdir -p.
void make_directories(const std::string& path);
/// rm -rf; nothing there is not an error.
void remove_tree(const std::string& path);
bool path_exists(const std::string& path);
bool is_directory(const std::string& path);
/// Names in a directory, without "." and "..", sorted. An absent directory has none.
std::vector<std::string> list_directory(const std::string& path);

/// "a/b" from "a" and "b".
std::string join_path(const std::string& directory, const std::string& name);
/// True for a plain file name: not empty, no separator, no NUL, not "." or "..". What an index may name.
bool is_plain_name(std::string_view name);

}  // namespace tessera
