// Memory that several ranks of one host see, and how they come by it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tessera {

/// A mapped block, zeroed at first. Unmapped by the destructor.
class SharedMemory {
 public:
  SharedMemory(void* data, size_t bytes) : data_(static_cast<std::byte*>(data)), bytes_(bytes) {}
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_;
  size_t bytes_;
};
using SharedMemoryPtr = std::shared_ptr<SharedMemory>;

/// How processes reach each other's files; see SharedFile.
enum class SharedFileKind {
  anonymous,  ///< memfd: needs no file system and vanishes with its users; peers must see /proc/PID of the
              ///< owner
  named,      ///< shm_open: needs room in /dev/shm; removed by the owner
};

/// Private anonymous memory; large blocks ask for huge pages. Throws out_of_memory.
SharedMemoryPtr map_anonymous(size_t bytes);

/// Gives the ranks of a host the same block under the same key.
class SharedSpace {
 public:
  virtual ~SharedSpace() = default;
  /// The block `key` of `bytes` bytes. `creator` is true on exactly one of its `users` ranks. Blocks until
  /// the block can be used by this rank; `poll` is called meanwhile and throws to give up.
  virtual SharedMemoryPtr open(const std::string& key, size_t bytes, bool creator, int users,
                               const std::function<void()>& poll) = 0;
  /// True when a pointer of one rank is good for all.
  virtual bool same_address_space() const = 0;
  /// What ranks that do not share an address space exchange.
  virtual SharedFileKind kind() const { return SharedFileKind::anonymous; }
};

/// Ranks that are threads of this process.
class ThreadSpace final : public SharedSpace {
 public:
  SharedMemoryPtr open(const std::string& key, size_t bytes, bool creator, int users,
                       const std::function<void()>& poll) override;
  bool same_address_space() const override { return true; }

 private:
  struct Item {
    SharedMemoryPtr memory;
    int users_left;  ///< the space lets go of the block once all its users have it
  };
  std::mutex mutex_;
  std::map<std::string, Item> items_;
};

}  // namespace tessera
