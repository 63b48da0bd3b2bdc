// One job at a time writes into a directory: two that share a temporary directory would mix their files.
#pragma once

#include <string>

#include "core/file_io.h"

namespace tessera {

/// An advisory lock (flock) on a file of its own, which goes away with the lock; the system lets go of it
/// when its holder dies. On a file system without locks nothing is held.
class WriterLock {
 public:
  /// `path` is the lock's file, `target` what is written, for the message. Throws busy when somebody else
  /// writes, io.
  WriterLock(const std::string& path, const std::string& target);
  ~WriterLock();
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  std::string path_;
  FileHandle file_;
};

}  // namespace tessera
