// The watchdog over operations on the device, and the first failure of a rank's NCCL groups.
#include "comm/nccl_link.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "core/log.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How often the watchdog looks while something is under way.
constexpr milliseconds kTick{5};
/// How often it looks for work that has been postponed otherwise.
constexpr milliseconds kIdle{50};
/// From this age on an operation is worth asking peers about.
constexpr milliseconds kSuspicious{1000};
/// How long a message's caller waits for NCCL to take it over.
constexpr std::chrono::microseconds kPatience{300};
/// How often a thread that waits looks whether peers have failed.
constexpr milliseconds kLook{20};
/// How much later than the watchdog a thread gives up that waits for what the watchdog knows of.
constexpr milliseconds kGrace{2000};

c10::Event event_of(const NcclLink& link) {
  return c10::Event(link.device().type());
}

}  // namespace

NcclOperation::NcclOperation(std::shared_ptr<NcclLink> link, std::vector<at::Tensor> tensors)
    : link_(std::move(link)),
      tensors_(std::move(tensors)),
      done_(event_of(*link_)),
      started_(steady_clock::now()),
      looked_(started_) {}

void NcclOperation::wait() {
  if (!launched_.load()) {
    link_->await(
        [&] {
          link_->progress();
          return launched_.load();
        },
        what, {}, /*watched=*/true);
  }
  link_->check();
  done_.block(link_->current_stream());
  link_->check();  // a stream that had to wait for long may have been freed by the watchdog
  const std::lock_guard lock(mutex_);
  tensors_.clear();
}

NcclLink::NcclLink(HostWorldPtr control, const CudaCommunication& cuda, const NcclApi& nccl,
                   at::Device device, const WorldOptions& options, std::vector<std::string> hosts)
    : control_(std::move(control)),
      cuda_(cuda),
      nccl_(nccl),
      device_(device),
      timeout_(options.timeout),
      register_buffers_(options.register_buffers),
      hosts_(std::move(hosts)) {
  if (register_buffers_ == "on" && !nccl_.registers())
    log_at(LogLevel::warning, "comm.register_buffers=on: this libnccl.so.2 cannot register memory");
  watchdog_ = std::thread([this] { watch(); });
  watchdog_id_ = watchdog_.get_id();
}

NcclLink::~NcclLink() {
  stop();
}

void NcclLink::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (watchdog_.joinable()) watchdog_.join();
}

c10::Stream NcclLink::current_stream() const {
  return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
}

bool NcclLink::registers(const std::vector<int>& world_ranks) const {
  if (register_buffers_ == "off" || !nccl_.registers()) return false;
  if (register_buffers_ == "on" || hosts_.empty()) return true;
  return std::all_of(world_ranks.begin(), world_ranks.end(),
                     [&](int rank) { return hosts_[rank] == hosts_[world_ranks[0]]; });
}

std::optional<Error> NcclLink::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void NcclLink::check() {
  if (auto error = failure()) throw *error;
}

void NcclLink::fail(const Error& error) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = error;
    changed_.notify_all();
  }
  for (const auto& comm : comms()) comm->abort();
}

Error NcclLink::nccl_error(int result, void* comm, const std::string& what) const {
  const char* detail = comm ? nccl_.last_error(comm) : nullptr;
  return {Code::device,
          cat(what, ": nccl: ", nccl_.error_text(result),
              detail && *detail ? cat(" (", detail, ")") : std::string()),
          -1, Domain::nccl, result};
}

void NcclLink::begun(const NcclOperationPtr& operation) {
  const std::lock_guard lock(mutex_);
  under_way_.push_back(operation);
  if (under_way_.size() == 1) changed_.notify_all();
}

void NcclLink::launched(const NcclOperationPtr& operation, const c10::Stream& stream) {
  operation->done_.record(stream);
  operation->launched_.store(true);
}

void NcclLink::dropped(const NcclOperationPtr& operation) {
  const std::lock_guard lock(mutex_);
  under_way_.remove(operation);
}

void NcclLink::postpone(const NcclOperationPtr& operation) {
  {
    const std::lock_guard lock(postponing_);
    postponed_.push_back(operation);
  }
  // NCCL takes a message over within microseconds unless it has to connect the two ranks first, which the
  // watchdog then sees through.
  const auto start = steady_clock::now();
  do {
    progress();
  } while (!operation->launched_.load() && steady_clock::now() - start < kPatience);
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

bool NcclLink::has_postponed() {
  const std::lock_guard lock(postponing_);
  return !postponed_.empty();
}

void NcclLink::progress() {
  check();
  const std::lock_guard lock(postponing_);
  for (auto it = postponed_.begin(); it != postponed_.end();) {
    it = (*it)->launch() ? postponed_.erase(it) : std::next(it);
  }
}

void NcclLink::await(const std::function<bool()>& ready, const std::string& what,
                     const std::vector<int>& ranks, bool watched) {
  const auto start = steady_clock::now();
  auto looked = start;
  int rounds = 0;
  while (!ready()) {
    check();
    const auto now = steady_clock::now();
    const auto waited = now - start;
    if (!ranks.empty() && now - looked > kLook) {
      looked = now;
      if (auto lost = control_->failure_of(ranks)) {
        const Error error(lost->code(), cat(what, ": ", lost->what()), lost->rank());
        fail(error);
        throw error;
      }
    }
    if (waited > timeout_ + (watched ? kGrace : milliseconds(0))) {
      const Error error(Code::timeout, cat(what, " timed out after ", timeout_.count(), " ms"));
      fail(error);
      throw error;
    }
    // Short waits are common and dear to oversleep.
    if (++rounds < 200) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(waited > milliseconds(20) ? 500 : 50));
    }
  }
}

void NcclLink::synchronize() {
  // What still waits for its peer has not been queued anywhere.
  await(
      [&] {
        progress();
        return !has_postponed();
      },
      "the start of send and recv");
  c10::Event reached = event_of(*this);
  reached.record(current_stream());
  int rounds = 0;
  while (!reached.query()) {
    check();
    if (++rounds < 1000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  check();
}

void NcclLink::add(const std::shared_ptr<NcclComm>& comm) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(comms_, [](const auto& weak) { return weak.expired(); });
    comms_.push_back(comm);
    if (!failure_) return;
  }
  comm->abort();
  check();
}

std::vector<std::shared_ptr<NcclComm>> NcclLink::comms() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<NcclComm>> alive;
  for (const auto& weak : comms_) {
    if (auto comm = weak.lock()) alive.push_back(std::move(comm));
  }
  return alive;
}

void NcclLink::close() {
  await(
      [&] {
        progress();
        if (has_postponed()) return false;
        const std::lock_guard lock(mutex_);
        return under_way_.empty();
      },
      "the end of all operations");
  // Children before the communicators they were split from.
  const auto all = comms();
  for (auto comm = all.rbegin(); comm != all.rend(); ++comm) (*comm)->finish();
  for (auto comm = all.rbegin(); comm != all.rend(); ++comm) (*comm)->destroy();
  stop();
}

void NcclLink::end(const Error& error) {
  fail(error);
  stop();
  // Operations know their link, which would keep itself alive.
  {
    const std::lock_guard lock(postponing_);
    postponed_.clear();
  }
  std::list<NcclOperationPtr> rest;
  const std::lock_guard lock(mutex_);
  rest.swap(under_way_);
}

/// The watchdog's thread.
void NcclLink::watch() {
  try {
    c10::impl::VirtualGuardImpl(device_.type()).setDevice(device_);
  } catch (const std::exception& error) {
    fail(Error(Code::device, cat("device ", device_.str(), ": ", error.what())));
    return;
  }
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (failure_) {
      changed_.wait(lock, [&] { return stopping_; });
      continue;
    }
    lock.unlock();
    const bool postponed = has_postponed();
    lock.lock();
    if (under_way_.empty() && !postponed) {
      if (!stopping_) changed_.wait_for(lock, kIdle);
      if (under_way_.empty()) continue;
    }
    std::vector<NcclOperationPtr> now(under_way_.begin(), under_way_.end());
    lock.unlock();
    std::vector<NcclOperationPtr> ended;
    try {
      for (const auto& comm : comms()) comm->look();
      progress();
      for (const NcclOperationPtr& operation : now) {
        if (operation->launched_.load() && operation->done_.query()) {
          ended.push_back(operation);
        } else {
          look_at(*operation);
        }
      }
    } catch (const Error& error) {
      fail(error);
    } catch (const std::exception& error) {  // a CUDA error, which the device keeps
      fail(Error(Code::device, error.what(), -1, Domain::cuda));
    }
    for (const NcclOperationPtr& operation : ended) {
      const std::lock_guard guard(operation->mutex_);
      operation->tensors_.clear();
    }
    lock.lock();
    for (const NcclOperationPtr& operation : ended) under_way_.remove(operation);
    now.clear();
    ended.clear();
    if (!stopping_) changed_.wait_for(lock, kTick);
  }
}

/// Throws when the operation cannot end any more.
void NcclLink::look_at(NcclOperation& operation) {
  const auto now = steady_clock::now();
  const auto age = now - operation.started_;
  if (auto lost = control_->failure_of(operation.ranks)) {
    throw Error(lost->code(), cat(operation.what, ": ", lost->what()), lost->rank());
  }
  if (operation.board && operation.sequence > 0) {
    if (operation.board->is_memory() || (age > kSuspicious && now - operation.looked_ > kSuspicious)) {
      operation.looked_ = now;
      operation.board->publish();
      compare(operation);
    }
  }
  if (age > timeout_) throw missing(operation);
}

/// Every rank must have called the same as its operation of this number. All compare with group rank 0, and
/// so report the same pair.
void NcclLink::compare(NcclOperation& operation) {
  const NcclProgress first = operation.board->look(0, operation.sequence);
  if (!first.known) return;
  for (size_t r = 1; r < operation.ranks.size(); ++r) {
    const NcclProgress other = operation.board->look(static_cast<int>(r), operation.sequence);
    if (!other.known || other.fingerprint == first.fingerprint) continue;
    std::string one = describe(first.fingerprint);
    const std::string two = describe(other.fingerprint);
    if (one == two) one += " with other sizes in the list";
    throw Error(Code::collective_mismatch,
                cat("group ", operation.group, ", operation ", operation.sequence, ": rank ",
                    operation.ranks[0], " calls ", one, ", rank ", operation.ranks[r], " calls ", two),
                operation.ranks[r]);
  }
}

Error NcclLink::missing(NcclOperation& operation) {
  std::string names;
  int rank = -1;
  // A message that was never queued lacks its other side.
  if (operation.sequence == 0 && !operation.launched_.load()) {
    rank = operation.ranks[operation.ranks[0] == control_->rank() ? 1 : 0];
    names = cat("rank ", rank);
  }
  for (size_t r = 0; operation.board && operation.sequence > 0 && r < operation.ranks.size(); ++r) {
    if (operation.board->look(static_cast<int>(r), operation.sequence).sequence >= operation.sequence)
      continue;
    if (rank < 0) rank = operation.ranks[r];
    names += cat(names.empty() ? "rank " : ", rank ", operation.ranks[r]);
  }
  return {Code::timeout,
          cat(operation.what, " timed out after ", timeout_.count(), " ms: ",
              names.empty() ? std::string("no rank is known to be missing") : cat("missing ", names)),
          rank};
}

}  // namespace tessera
