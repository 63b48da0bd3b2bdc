// Presence, failure detection and waiting for ranks of one host.
#include "comm/local_seat.h"

#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "comm/local_group.h"
#include "core/error.h"

namespace tessera {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

/// A sleeping rank looks around this often: for dead processes, and for work of its other groups.
constexpr microseconds kTick{50'000};
constexpr microseconds kSpin{25};

int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

const char* departure_verb(Presence presence) {
  switch (presence) {
    case Presence::closed:
      return "closed its world";
    case Presence::left:
      return "left its world";
    case Presence::aborted:
      return "aborted";
    default:
      return "is present";
  }
}

}  // namespace

LocalSeat::LocalSeat(WorldOptions options, std::shared_ptr<SharedSpace> space, SharedMemoryPtr memory)
    : options_(std::move(options)),
      space_(std::move(space)),
      memory_(std::move(memory)),
      block_(reinterpret_cast<WorldBlock*>(memory_->data())),
      crowded_(options_.local_size > usable_cores()) {
  SeatBlock& seat = block_->seat(rank());
  seat.pid.store(getpid());
  uint32_t expected = static_cast<uint32_t>(Presence::absent);
  TESSERA_CHECK(seat.presence.compare_exchange_strong(expected, static_cast<uint32_t>(Presence::present)),
                argument, "rank=", rank(), " has already joined this world");
}

LocalSeat::~LocalSeat() {
  for (int fd : process_fds_) {
    if (fd >= 0) ::close(fd);
  }
}

bool LocalSeat::wait_until(c10::function_ref<bool()> ready, steady_clock::time_point deadline,
                           c10::function_ref<std::string()> what) {
  if (ready()) return true;
  if (!crowded_) {
    const steady_clock::time_point spin_end = steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 16; ++i) {
        spin_pause();
        if (ready()) return true;
      }
    } while (steady_clock::now() < spin_end);
  }

  SeatBlock& seat = block_->seat(rank());
  seat.waiting.write(what());
  bool done = false;
  const auto look = [&] {
    progress_groups();
    return done = ready();
  };
  try {
    while (!done) {
      const auto rest = std::chrono::duration_cast<microseconds>(deadline - steady_clock::now());
      if (rest.count() <= 0) break;
      seat.bell.sleep_unless(look, std::min(rest, kTick));
      if (!done) check_processes();
      if (!done) look();
    }
  } catch (...) {
    seat.waiting.write("");
    throw;
  }
  seat.waiting.write("");
  return done;
}

std::optional<PeerFailure> LocalSeat::failure_for(const std::vector<int>& missing) const {
  const auto failure = [&](int r, Presence how) {
    const std::string reason = block_->seat(r).reason.read();
    return PeerFailure{r, cat("rank ", r, " ", departure_verb(how), reason.empty() ? "" : ": ", reason)};
  };
  // Those who abort because another has come after it.
  int first = -1;
  uint32_t earliest = 0;
  for (int r = 0; r < size(); ++r) {
    if (r == rank() || presence(r) != Presence::aborted) continue;
    const uint32_t order = block_->seat(r).order.load() - 1;  // not yet known: 0, which becomes the latest
    if (first < 0 || order < earliest) {
      first = r;
      earliest = order;
    }
  }
  if (first >= 0) return failure(first, Presence::aborted);
  for (int r : missing) {
    const Presence how = presence(r);
    if (how == Presence::left || how == Presence::closed) return failure(r, how);
  }
  return std::nullopt;
}

void LocalSeat::await_all_present() {
  for (int r = 0; r < size(); ++r) ring(r);  // those who wait for this rank
  const auto absent = [&] {
    std::string text;
    for (int r = 0; r < size(); ++r) {
      if (presence(r) == Presence::absent) text += cat(text.empty() ? "rank " : ", rank ", r);
    }
    return text;
  };
  if (!wait_until([&] { return absent().empty(); }, deadline(), [] { return std::string("connect"); })) {
    throw Error(Code::timeout,
                cat("rank ", rank(), " waited ", options_.timeout.count(), " ms for ", absent()));
  }
  process_fds_.assign(size(), -1);
  for (int r = 0; r < size(); ++r) {
    const int pid = block_->seat(r).pid.load();
    if (pid != getpid()) process_fds_[r] = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  }
}

void LocalSeat::check_processes() {
  for (int r = 0; r < static_cast<int>(process_fds_.size()); ++r) {
    if (process_fds_[r] < 0 || presence(r) != Presence::present) continue;
    pollfd entry{process_fds_[r], POLLIN,
                 0};  // a pidfd becomes readable when its process ends, reaped or not
    if (::poll(&entry, 1, 0) != 1) continue;
    SeatBlock& seat = block_->seat(r);
    seat.reason.write(cat("its process ", seat.pid.load(), " ended"));
    uint32_t expected = static_cast<uint32_t>(Presence::present);
    if (seat.presence.compare_exchange_strong(expected, static_cast<uint32_t>(Presence::aborted))) {
      seat.order.store(block_->departures.fetch_add(1) + 1);
      for (int peer = 0; peer < size(); ++peer) ring(peer);
    }
  }
}

void LocalSeat::poll(const std::vector<int>& ranks, steady_clock::time_point deadline,
                     const std::string& what) {
  check_processes();
  if (anyone_departed()) {
    const auto failure = failure_for(ranks);
    if (failure) throw Error(Code::peer_failed, cat(what, ": ", failure->text), failure->rank);
    TESSERA_CHECK(!departed(), state, what, ": rank ", rank(), " itself has left its world");
  }
  TESSERA_CHECK(steady_clock::now() < deadline, timeout, what, " timed out after ", options_.timeout.count(),
                " ms: a rank has not called it");
}

void LocalSeat::depart(Presence how, const std::string& reason) {
  SeatBlock& seat = block_->seat(rank());
  uint32_t expected = static_cast<uint32_t>(Presence::present);
  if (!departed()) seat.reason.write(reason);
  if (!seat.presence.compare_exchange_strong(expected, static_cast<uint32_t>(how))) return;
  seat.order.store(block_->departures.fetch_add(1) + 1);
  for (int peer = 0; peer < size(); ++peer) ring(peer);
}

void LocalSeat::remember_failure(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (first_failure_.empty()) first_failure_ = text;
}

std::string LocalSeat::first_failure() const {
  const std::lock_guard lock(mutex_);
  return first_failure_;
}

void LocalSeat::add_group(const std::shared_ptr<LocalGroup>& group) {
  const std::lock_guard lock(mutex_);
  groups_.push_back(group);
}

std::vector<std::shared_ptr<LocalGroup>> LocalSeat::groups() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<LocalGroup>> alive;
  for (const auto& weak : groups_) {
    if (auto group = weak.lock()) alive.push_back(std::move(group));
  }
  return alive;
}

void LocalSeat::progress_groups() {
  for (const auto& group : groups()) group->progress_quietly();
}

}  // namespace tessera
