// The table behind the numeric handles of the C ABI: validates a number that came from outside and keeps its
// object alive while somebody uses it. Knows nothing of what the objects are.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "core/error.h"

namespace tessera {

/// A handle is [kind:8][generation:24][slot:32]; 0 is the null handle. A slot's generation grows each time it
/// is given back, so an old handle never reaches a new object; a slot whose generations are used up is
/// retired.
///
/// All functions may be called from any thread. find() and destroy() take no lock.
class HandleTable {
 public:
  static constexpr int kKinds = 16;

  /// The table of the process. It is never destroyed: handles may be used while statics are.
  static HandleTable& instance();

  HandleTable();
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  /// `kind` is 1 .. kKinds-1, `object` not null.
  uint64_t insert(uint8_t kind, std::shared_ptr<void> object);
  /// The object of a live handle of this kind. Throws handle_null, handle_type, handle_stale or forked.
  std::shared_ptr<void> find(uint64_t id, uint8_t kind) const;
  /// Makes the handle stale; the object goes when its last user does, which may be here. The null handle is
  /// fine.
  Code destroy(uint64_t id, uint8_t kind) noexcept;
  /// Handles that were made and not yet destroyed; kind 0 counts all.
  int64_t live(uint8_t kind) const;

 private:
  struct Slot {
    /// [generation:24][kind:8][live:1][pins:31]. A pin keeps `object` in place for the time it takes to copy
    /// it.
    std::atomic<uint64_t> state{uint64_t{1} << 40};
    std::shared_ptr<void> object;
    uint32_t epoch = 0;
    uint32_t next_free = 0;
  };
  static constexpr uint32_t kChunkSlots = 1024;
  static constexpr uint32_t kChunks = 4096;
  static constexpr uint32_t kNone = UINT32_MAX;

  Slot* slot_at(uint32_t index) const noexcept;
  uint32_t take_free();
  void release(Slot& slot, uint32_t index) noexcept;
  Code pin(uint64_t id, uint8_t kind, Slot*& slot) const noexcept;
  void unpin(Slot& slot, uint32_t index) const noexcept;

  static void before_fork();
  static void after_fork_parent();
  static void after_fork_child();

  mutable std::mutex mutex_;  ///< guards the free list and growth
  std::array<std::atomic<Slot*>, kChunks> chunks_{};
  uint32_t used_ = 0;
  uint32_t free_head_ = kNone;  ///< a queue, so that a slot rests as long as possible before it is used again
  uint32_t free_tail_ = kNone;
  std::atomic<uint32_t> epoch_{0};  ///< grows in the child of a fork
  std::array<std::atomic<int64_t>, kKinds> live_{};
};

}  // namespace tessera
