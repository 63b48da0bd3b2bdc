// Creates and maps memory files.
#include "comm/shared_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <sstream>

#include "core/error.h"

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

/// Closes a descriptor at the end of its scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::string random_name() {
  std::random_device device;
  std::ostringstream text;
  text << "tessera-" << std::hex << device() << device();
  return text.str();
}

SharedMemoryPtr map_file(int fd, size_t bytes) {
  if (bytes == 0) return std::make_shared<SharedMemory>(nullptr, 0);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  TESSERA_CHECK(data != MAP_FAILED, out_of_memory, "cannot map a shared file of ", bytes, " bytes");
  if (bytes >= kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
  return std::make_shared<SharedMemory>(data, bytes);
}

}  // namespace

std::unique_ptr<SharedFile> SharedFile::create(size_t bytes, Kind kind) {
  std::unique_ptr<SharedFile> file(new SharedFile);
  const std::string name = random_name();
  if (kind == Kind::anonymous) {
    file->fd_ = memfd_create(name.c_str(), MFD_CLOEXEC);
    if (file->fd_ < 0) throw os_error("memfd_create", errno);
    if (ftruncate(file->fd_, static_cast<off_t>(bytes)) != 0)
      throw os_error("ftruncate of a memory file", errno);
    file->address_ = cat("memfd ", getpid(), " ", file->fd_, " ", name);
  } else {
    const std::string path = "/" + name;
    file->fd_ = shm_open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (file->fd_ < 0) throw os_error(cat("shm_open ", path), errno);
    file->name_ = path;
    // Reserves the pages: /dev/shm is often small in containers, and a write beyond it would be a bus error.
    const int status = bytes == 0 ? 0 : posix_fallocate(file->fd_, 0, static_cast<off_t>(bytes));
    if (status != 0) throw os_error(cat("reserving ", bytes, " bytes in /dev/shm"), status);
    file->address_ = cat("shm ", path);
  }
  file->memory_ = map_file(file->fd_, bytes);
  return file;
}

SharedFile::~SharedFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!name_.empty()) shm_unlink(name_.c_str());
}

SharedMemoryPtr SharedFile::attach(const std::string& address, size_t bytes) {
  std::istringstream in(address);
  std::string kind;
  in >> kind;
  Descriptor file{-1};
  if (kind == "memfd") {
    int64_t pid = 0;
    int64_t number = 0;
    std::string name;
    in >> pid >> number >> name;
    TESSERA_CHECK(!in.fail(), format, "shared memory address \"", address, "\" is malformed");
    const std::string path = cat("/proc/", pid, "/fd/", number);
    // In another process namespace the same number is another process: the name tells.
    char target[128] = {};
    const bool readable = readlink(path.c_str(), target, sizeof target - 1) > 0;
    if (!readable && errno == ENOENT) throw Error(Code::peer_failed, cat("process ", pid, " has ended"));
    if (!readable) throw os_error(cat("reading ", path), errno);
    TESSERA_CHECK(std::string(target).find(name) != std::string::npos, io, path, " is not the memory file ",
                  name, ": ranks of backend=local must share the host's process namespace");
    file.fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file.fd < 0) throw os_error(cat("opening ", path), errno);
  } else if (kind == "shm") {
    std::string path;
    in >> path;
    file.fd = shm_open(path.c_str(), O_RDWR | O_CLOEXEC, 0600);
    if (file.fd < 0) throw os_error(cat("shm_open ", path), errno);
  } else {
    throw Error(Code::format, cat("shared memory address \"", address, "\" is malformed"));
  }
  struct stat status{};
  if (fstat(file.fd, &status) != 0) throw os_error("fstat of shared memory", errno);
  TESSERA_CHECK(static_cast<size_t>(status.st_size) == bytes, collective_mismatch,
                "shared block: one rank asks for ", bytes, " bytes, another for ", status.st_size);
  return map_file(file.fd, bytes);
}

}  // namespace tessera
