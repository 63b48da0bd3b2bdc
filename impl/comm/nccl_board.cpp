// The board in shared memory, and the one in a rendezvous store.
#include "comm/nccl_board.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "comm/rendezvous.h"
#include "core/error.h"

namespace tessera {
namespace {

/// Operations that are remembered. A rank may start more before its peers have ended the first of them: then
/// the old ones are not compared any more, and only a timeout finds that they differ.
constexpr uint64_t kRemembered = 64;

class SharedBoard final : public NcclBoard {
 public:
  explicit SharedBoard(Group& control)
      : rank_(control.rank()),
        blocks_(control.allocate_symmetric(
            static_cast<int64_t>(sizeof(Entry) + static_cast<size_t>(control.size()) * sizeof(Letter)))) {}

  void start(uint64_t sequence, const Fingerprint& fingerprint) override {
    Entry& mine = entry(rank_);
    Slot& slot = mine.slots[sequence % kRemembered];
    slot.sequence.store(0);  // readers that see it before or after take nothing from between
    std::atomic_thread_fence(std::memory_order_seq_cst);
    write(slot, fingerprint);
    slot.sequence.store(sequence);
    mine.started.store(sequence);
  }

  NcclProgress look(int rank, uint64_t sequence) override {
    Entry& theirs = entry(rank);
    NcclProgress progress;
    progress.sequence = theirs.started.load();
    Slot& slot = theirs.slots[sequence % kRemembered];
    if (slot.sequence.load() != sequence) return progress;
    progress.fingerprint = read(slot);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    progress.known = slot.sequence.load() == sequence;
    return progress;
  }

  bool is_memory() const override { return true; }

  void leave_id(int rank, const Id& id) override {
    Letter& letter = letters(rank_)[rank];
    std::memcpy(letter.id, id.data(), std::min(id.size(), sizeof letter.id));
    letter.written.store(1);
  }

  std::optional<Id> find_id(int rank) override {
    Letter& letter = letters(rank)[rank_];
    if (letter.written.load() == 0) return std::nullopt;
    return Id(letter.id, letter.id + sizeof letter.id);
  }

 private:
  static constexpr size_t kWords = sizeof(Fingerprint) / sizeof(uint64_t);
  struct Slot {
    std::atomic<uint64_t> sequence;
    std::atomic<uint64_t> words[kWords];  ///< of the fingerprint: readers may come while it is written
  };
  struct alignas(64) Entry {
    std::atomic<uint64_t> started;
    Slot slots[kRemembered];
  };
  struct Letter {
    std::atomic<uint64_t> written;
    char id[kNcclIdBytes];
  };

  static void write(Slot& slot, const Fingerprint& fingerprint) {
    uint64_t words[kWords];
    std::memcpy(words, &fingerprint, sizeof words);
    for (size_t i = 0; i < kWords; ++i) slot.words[i].store(words[i], std::memory_order_relaxed);
  }
  static Fingerprint read(const Slot& slot) {
    uint64_t words[kWords];
    for (size_t i = 0; i < kWords; ++i) words[i] = slot.words[i].load(std::memory_order_relaxed);
    Fingerprint fingerprint;
    std::memcpy(static_cast<void*>(&fingerprint), words, sizeof words);
    return fingerprint;
  }

  // Blocks are page-aligned and zeroed, which is the initial state of all atomics.
  Entry& entry(int rank) const { return *reinterpret_cast<Entry*>(blocks_.blocks[rank].data_ptr()); }
  Letter* letters(int rank) const { return reinterpret_cast<Letter*>(&entry(rank) + 1); }

  int rank_;
  SharedBlocks blocks_;
};

class StoreBoard final : public NcclBoard {
 public:
  StoreBoard(const Group& control, Rendezvous& rendezvous)
      : rank_(control.rank()), store_(rendezvous.clone()) {
    key_ = cat("nccl/", control.name());
    for (const int r : control.world_ranks()) key_ += cat("/", r);
  }

  void start(uint64_t sequence, const Fingerprint& fingerprint) override {
    const std::lock_guard lock(mutex_);
    sequence_ = sequence;
    fingerprint_ = fingerprint;
  }

  void publish() override {
    const std::lock_guard lock(mutex_);
    if (published_ == sequence_) return;
    published_ = sequence_;
    std::string text(sizeof sequence_ + sizeof fingerprint_, '\0');
    std::memcpy(text.data(), &sequence_, sizeof sequence_);
    std::memcpy(text.data() + sizeof sequence_, &fingerprint_, sizeof fingerprint_);
    store_->set(cat(key_, "/at/", rank_), text);
  }

  NcclProgress look(int rank, uint64_t sequence) override {
    const std::lock_guard lock(mutex_);
    NcclProgress progress;
    const auto text = store_->try_get(cat(key_, "/at/", rank));
    if (!text || text->size() != sizeof progress.sequence + sizeof progress.fingerprint) return progress;
    std::memcpy(&progress.sequence, text->data(), sizeof progress.sequence);
    progress.known = progress.sequence == sequence;
    std::memcpy(static_cast<void*>(&progress.fingerprint), text->data() + sizeof progress.sequence,
                sizeof progress.fingerprint);
    return progress;
  }

  bool is_memory() const override { return false; }

  void leave_id(int rank, const Id& id) override {
    const std::lock_guard lock(mutex_);
    store_->set(cat(key_, "/id/", rank_, "/", rank), std::string(id.begin(), id.end()));
  }

  std::optional<Id> find_id(int rank) override {
    const std::lock_guard lock(mutex_);
    const auto text = store_->try_get(cat(key_, "/id/", rank, "/", rank_));
    if (!text || text->size() != kNcclIdBytes) return std::nullopt;
    return Id(text->begin(), text->end());
  }

 private:
  int rank_;
  std::mutex mutex_;  ///< guards the rest
  std::shared_ptr<Rendezvous> store_;
  std::string key_;
  uint64_t sequence_ = 0;
  uint64_t published_ = 0;
  Fingerprint fingerprint_;
};

}  // namespace

std::unique_ptr<NcclBoard> make_nccl_board(Group& control, Rendezvous* rendezvous) {
  if (control.shares_memory()) return std::make_unique<SharedBoard>(control);
  TESSERA_CHECK(rendezvous != nullptr, internal, "group ", control.name(), " has no rendezvous");
  return std::make_unique<StoreBoard>(control, *rendezvous);
}

}  // namespace tessera
