// Anonymous mappings and their exchange between threads of one process.
#include "comm/shared_memory.h"

#include <sys/mman.h>

#include "core/error.h"

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

SharedMemoryPtr map_anonymous(size_t bytes) {
  if (bytes == 0) return std::make_shared<SharedMemory>(nullptr, 0);
  void* data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TESSERA_CHECK(data != MAP_FAILED, out_of_memory, "cannot map a shared block of ", bytes, " bytes");
  if (bytes >= kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
  return std::make_shared<SharedMemory>(data, bytes);
}

SharedMemoryPtr ThreadSpace::open(const std::string& key, size_t bytes, bool /*creator*/, int users,
                                  const std::function<void()>& /*poll*/) {
  const std::lock_guard lock(mutex_);
  auto found = items_.find(key);
  if (found == items_.end()) found = items_.emplace(key, Item{map_anonymous(bytes), users}).first;
  SharedMemoryPtr memory = found->second.memory;
  TESSERA_CHECK(memory->bytes() == bytes, collective_mismatch, "shared block ", key, ": one rank asks for ",
                bytes, " bytes, another for ", memory->bytes());
  if (--found->second.users_left == 0) items_.erase(found);
  return memory;
}

}  // namespace tessera
