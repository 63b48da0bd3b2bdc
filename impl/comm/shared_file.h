// A block of memory that other processes of this host can map: an anonymous memory file reached through
// /proc, or a named POSIX object where that is not possible.
#pragma once

#include <memory>
#include <string>

#include "comm/shared_memory.h"

namespace tessera {

class SharedFile {
 public:
  using Kind = SharedFileKind;

  /// A zeroed file. Throws io or out_of_memory.
  static std::unique_ptr<SharedFile> create(size_t bytes, Kind kind);
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;

  /// What attach() of another process needs; good while this object lives. At most 96 bytes.
  const std::string& address() const { return address_; }
  const SharedMemoryPtr& memory() const { return memory_; }

  /// Maps the file of another process (or of this one). Throws peer_failed when that process has ended, io
  /// when the address cannot be reached or is not what it says.
  static SharedMemoryPtr attach(const std::string& address, size_t bytes);

 private:
  SharedFile() = default;
  int fd_ = -1;
  std::string name_;
  std::string address_;
  SharedMemoryPtr memory_;
};

}  // namespace tessera
