// The shared block of a local group: what each rank has announced, finished and is reading. All zeros at
// first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "comm/doorbell.h"
#include "comm/fingerprint.h"

namespace tessera::local {

/// Operations that may be under way at once; a rank that runs further ahead waits in start.
inline constexpr uint64_t kRing = 32;
/// Tensors of one operation; longer lists travel as several operations.
inline constexpr int kListLength = 32;
/// Inputs up to this size travel inside the slot: no peer touches the rank's own memory.
inline constexpr int64_t kInlineBytes = 2048;
/// Sends under way between two ranks.
inline constexpr int kMailSlots = 16;
/// Staging segments that a rank of a multi-process group may have.
inline constexpr int kSegments = 64;

enum class Where : uint32_t {
  direct = 0,     ///< `offset` is an address
  inlined = 1,    ///< `offset` into the slot's inline bytes
  staged = 2,     ///< `offset` into the owner's staging segment `index`
  allocated = 3,  ///< `offset` into block `index` of the group's allocations (the owner's part)
};

/// Where a peer finds one input.
struct Entry {
  uint64_t offset = 0;
  Where where = Where::direct;
  uint32_t index = 0;
  int64_t elements = 0;
};

struct Slot {
  Fingerprint fingerprint;
  uint64_t entries = 0;
  uint64_t padding[3] = {};
};
static_assert(sizeof(Slot) == 64);

/// A staging segment as its owner announces it. Written before the first entry that refers to it.
struct SegmentRef {
  uint64_t generation = 0;  ///< changes when the place in the table is used again
  uint64_t bytes = 0;
  char address[112] = {};  ///< of the SharedFile
};

/// One rank's counters. Operations of a group are numbered from 1 and each rank completes them in order.
struct alignas(64) Seat {
  std::atomic<uint64_t> posted{0};               ///< announced; the slot may be read
  alignas(64) std::atomic<uint64_t> halfway{0};  ///< all_reduce: this rank's slice is reduced
  std::atomic<uint64_t> finished{0};  ///< outputs ready: this rank reads nothing of its peers any more
  /// Not 0 while the rank reads memory of peers. A rank that fails waits for 0 before it gives memory back.
  std::atomic<uint32_t> reading{0};
  alignas(64) SegmentRef segments[kSegments];
};

/// One message under way.
struct alignas(64) Mail {
  std::atomic<uint32_t> full{0};
  uint64_t number = 0;  ///< counts the messages of this sender to this receiver
  Fingerprint fingerprint;
  Entry entry;
};

struct alignas(64) Header {
  std::atomic<uint32_t> failure{0};  ///< 0: none, 1: being written, 2: below
  std::atomic<int32_t> failure_code{0};
  std::atomic<int32_t> failure_rank{-1};
  SharedText<1024> failure_text;
};

/// Addresses of the parts. Stateless but for the base address and the size of the group.
class Layout {
 public:
  Layout(std::byte* base, int size) : base_(base), size_(size) {}

  static size_t bytes(int size) {
    return mail_offset(size) + sizeof(Mail) * static_cast<size_t>(kMailSlots) * size * size;
  }
  Header& header() const { return *reinterpret_cast<Header*>(base_); }
  Seat& seat(int rank) const { return *reinterpret_cast<Seat*>(base_ + seat_offset(size_, rank)); }
  Slot& slot(int rank, uint64_t sequence) const {
    return *reinterpret_cast<Slot*>(base_ + seat_offset(size_, rank) + sizeof(Seat) +
                                    sequence % kRing * slot_bytes(size_));
  }
  Entry* entries(Slot& slot) const { return reinterpret_cast<Entry*>(&slot + 1); }
  std::byte* inlined(Slot& slot) const {
    return reinterpret_cast<std::byte*>(&slot) + slot_bytes(size_) - kInlineBytes;
  }
  Mail& mail(int source, int destination, int index) const {
    const size_t channel = static_cast<size_t>(source) * size_ + destination;
    return reinterpret_cast<Mail*>(base_ + mail_offset(size_))[channel * kMailSlots + index];
  }

 private:
  static size_t capacity(int size) { return size > kListLength ? size : kListLength; }
  static size_t slot_bytes(int size) {
    return (sizeof(Slot) + capacity(size) * sizeof(Entry) + kInlineBytes + 63) / 64 * 64;
  }
  static size_t seat_bytes(int size) { return sizeof(Seat) + kRing * slot_bytes(size); }
  static size_t seat_offset(int size, int rank) { return sizeof(Header) + seat_bytes(size) * rank; }
  static size_t mail_offset(int size) { return seat_offset(size, size); }

  std::byte* base_;
  int size_;
};

}  // namespace tessera::local
