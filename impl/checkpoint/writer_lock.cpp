// flock(2) on a file that is removed by whoever holds it.
#include "checkpoint/writer_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"

namespace tessera {
namespace {

/// False when the file was removed since it was opened: its lock then keeps nobody out.
bool is_still_at(const std::string& path, const FileHandle& file) {
  struct stat opened{}, named{};
  return ::fstat(file.get(), &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

WriterLock::WriterLock(const std::string& path, const std::string& target) : path_(path) {
  do {
    file_ = FileHandle(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!file_.is_open()) throw os_error(cat("cannot open ", path), errno);
    if (::flock(file_.get(), LOCK_EX | LOCK_NB) == 0) continue;
    TESSERA_CHECK(errno != EWOULDBLOCK, busy, "another job writes ", target, " at this moment");
    return;  // no locks here
  } while (!is_still_at(path, file_));
}

WriterLock::~WriterLock() {
  ::unlink(path_.c_str());
}

}  // namespace tessera
