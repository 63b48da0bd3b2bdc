// Slots, pins and generations of the handle table.
#include "core/handle.h"

#include <pthread.h>

#include <utility>

namespace tessera {
namespace {

constexpr uint64_t kLive = uint64_t{1} << 31;
constexpr uint64_t kPins = kLive - 1;
constexpr uint32_t kMaxGeneration = (1U << 24) - 1;

constexpr uint32_t generation_of(uint64_t state) {
  return static_cast<uint32_t>(state >> 40);
}
constexpr uint8_t kind_of(uint64_t state) {
  return static_cast<uint8_t>(state >> 32);
}
constexpr uint64_t make_state(uint32_t generation, uint8_t kind) {
  return uint64_t{generation} << 40 | uint64_t{kind} << 32;
}

constexpr uint32_t id_slot(uint64_t id) {
  return static_cast<uint32_t>(id);
}
constexpr uint32_t id_generation(uint64_t id) {
  return static_cast<uint32_t>(id >> 32) & kMaxGeneration;
}
constexpr uint8_t id_kind(uint64_t id) {
  return static_cast<uint8_t>(id >> 56);
}

}  // namespace

HandleTable& HandleTable::instance() {
  static auto* table = [] {
    auto* made = new HandleTable;
    // Engines, devices and threads do not survive a fork: handles made before it are refused in the child.
    pthread_atfork(&before_fork, &after_fork_parent, &after_fork_child);
    return made;
  }();
  return *table;
}

HandleTable::HandleTable() = default;

void HandleTable::before_fork() {
  instance().mutex_.lock();
}
void HandleTable::after_fork_parent() {
  instance().mutex_.unlock();
}
void HandleTable::after_fork_child() {
  instance().epoch_.fetch_add(1);
  instance().mutex_.unlock();
}

HandleTable::Slot* HandleTable::slot_at(uint32_t index) const noexcept {
  if (index >= kChunkSlots * kChunks) return nullptr;
  Slot* chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : chunk + index % kChunkSlots;
}

uint32_t HandleTable::take_free() {
  const std::lock_guard lock(mutex_);
  // Some slots rest in the queue before they are used again, so that generations last.
  constexpr uint32_t kResting = 64;
  if (free_head_ != kNone && used_ >= kResting) {
    const uint32_t index = free_head_;
    free_head_ = slot_at(index)->next_free;
    if (free_head_ == kNone) free_tail_ = kNone;
    return index;
  }
  TESSERA_CHECK(used_ < kChunkSlots * kChunks, out_of_memory, "more than ", kChunkSlots * kChunks,
                " live handles");
  if (used_ % kChunkSlots == 0) {
    chunks_[used_ / kChunkSlots].store(new Slot[kChunkSlots], std::memory_order_release);
  }
  return used_++;
}

uint64_t HandleTable::insert(uint8_t kind, std::shared_ptr<void> object) {
  TESSERA_CHECK(kind > 0 && kind < kKinds && object, internal, "handle of kind ", int{kind});
  const uint32_t index = take_free();
  Slot& slot = *slot_at(index);
  const uint32_t generation = generation_of(slot.state.load(std::memory_order_relaxed));
  slot.object = std::move(object);
  slot.epoch = epoch_.load(std::memory_order_relaxed);
  live_[kind].fetch_add(1, std::memory_order_relaxed);
  slot.state.store(make_state(generation, kind) | kLive, std::memory_order_release);
  return uint64_t{kind} << 56 | uint64_t{generation} << 32 | index;
}

Code HandleTable::pin(uint64_t id, uint8_t kind, Slot*& slot) const noexcept {
  if (id == 0) return Code::handle_null;
  if (id_kind(id) != kind) return Code::handle_type;
  slot = slot_at(id_slot(id));
  if (slot == nullptr) return Code::handle_stale;
  uint64_t state = slot->state.load(std::memory_order_relaxed);
  do {
    // The kind is compared too: a made-up handle must not reach an object of another kind.
    if ((state & kLive) == 0 || generation_of(state) != id_generation(id) || kind_of(state) != kind) {
      return Code::handle_stale;
    }
  } while (!slot->state.compare_exchange_weak(state, state + 1, std::memory_order_acquire));
  if (slot->epoch != epoch_.load(std::memory_order_relaxed)) {
    unpin(*slot, id_slot(id));
    return Code::forked;
  }
  return Code::ok;
}

void HandleTable::unpin(Slot& slot, uint32_t index) const noexcept {
  const uint64_t before = slot.state.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & kLive) == 0 && (before & kPins) == 1) const_cast<HandleTable*>(this)->release(slot, index);
}

std::shared_ptr<void> HandleTable::find(uint64_t id, uint8_t kind) const {
  Slot* slot = nullptr;
  const Code code = pin(id, kind, slot);
  switch (code) {
    case Code::ok:
      break;
    case Code::handle_null:
      throw Error(code, "null handle");
    case Code::handle_type:
      throw Error(code, cat("handle of kind ", int{id_kind(id)}, " instead of ", int{kind}));
    case Code::forked:
      throw Error(code, "the handle was made before fork()");
    default:
      throw Error(Code::handle_stale, "the handle was destroyed, or never existed");
  }
  std::shared_ptr<void> object = slot->object;
  unpin(*slot, id_slot(id));
  return object;
}

Code HandleTable::destroy(uint64_t id, uint8_t kind) noexcept {
  if (id == 0) return Code::ok;
  Slot* slot = nullptr;
  const Code code = pin(id, kind, slot);
  if (code != Code::ok) return code;
  // One CAS decides which of several destroyers wins; whoever drops the last pin after it releases the slot.
  uint64_t state = slot->state.load(std::memory_order_relaxed);
  do {
    if ((state & kLive) == 0) {
      unpin(*slot, id_slot(id));
      return Code::handle_stale;
    }
  } while (!slot->state.compare_exchange_weak(state, state & ~kLive, std::memory_order_acq_rel));
  live_[kind].fetch_sub(1, std::memory_order_relaxed);
  unpin(*slot, id_slot(id));
  return Code::ok;
}

void HandleTable::release(Slot& slot, uint32_t index) noexcept {
  const std::shared_ptr<void> object =
      std::move(slot.object);  // its destructor runs after the slot is given back
  slot.object.reset();
  const uint32_t generation = generation_of(slot.state.load(std::memory_order_relaxed));
  if (generation == kMaxGeneration) return;  // retired: it stays dead
  slot.state.store(make_state(generation + 1, 0), std::memory_order_release);
  const std::lock_guard lock(mutex_);
  slot.next_free = kNone;
  if (free_tail_ == kNone) {
    free_head_ = index;
  } else {
    slot_at(free_tail_)->next_free = index;
  }
  free_tail_ = index;
}

int64_t HandleTable::live(uint8_t kind) const {
  TESSERA_CHECK(kind < kKinds, argument, "kind=", int{kind}, " is not a kind of handle");
  if (kind != 0) return live_[kind].load(std::memory_order_relaxed);
  int64_t total = 0;
  for (const auto& count : live_) total += count.load(std::memory_order_relaxed);
  return total;
}

}  // namespace tessera
