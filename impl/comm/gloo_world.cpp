// Heartbeat, abort and groups of ranks that talk over TCP.
#include "comm/gloo_world.h"

#include "comm/gloo_group.h"
#include "comm/local_world.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kBeat{100};
/// How long ranks that have failed wait for each other's words.
constexpr milliseconds kPatience{2000};

/// An Error as text for the store: "code rank message".
std::string to_text(const Error& error) {
  return cat(static_cast<int>(error.code()), " ", error.rank(), " ", error.what());
}

Error from_text(const std::string& text) {
  std::istringstream in(text);
  int code = static_cast<int>(Code::peer_failed);
  int rank = -1;
  std::string message;
  in >> code >> rank;
  in.get();
  std::getline(in, message);
  if (code <= 0 || code > static_cast<int>(Code::internal)) code = static_cast<int>(Code::peer_failed);
  return {static_cast<Code>(code), message, rank};
}

}  // namespace

GlooLink::GlooLink(WorldOptions options, std::shared_ptr<Rendezvous> rendezvous)
    : options_(std::move(options)), rendezvous_(std::move(rendezvous)), heart_store_(rendezvous_->clone()) {
  heart_ = std::thread([this] {
    beat();
    const std::lock_guard lock(mutex_);
    heart_ended_ = true;
    stopped_.notify_all();
  });
}

GlooLink::~GlooLink() {
  stop();
}

void GlooLink::beat() {
  uint64_t count = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::string text = cat(++count, " ", activity_);
    lock.unlock();
    try {
      heart_store_->set(cat("alive/", options_.rank), text);
      check_abort();
    } catch (const Error& error) {
      if (!ending_.load()) fail(error);
      return;
    }
    lock.lock();
    stopped_.wait_for(lock, kBeat, [&] { return stopping_; });
  }
}

void GlooLink::stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    stopped_.notify_all();
    // Where the network has gone the heart waits for an answer that will not come.
    const bool ended = stopped_.wait_for(lock, kPatience, [&] { return heart_ended_; });
    if (!ended) heart_store_->cancel();
  }
  if (heart_.joinable() && heart_.get_id() != std::this_thread::get_id()) heart_.join();
}

void GlooLink::check_abort() {
  if (ending_.load() || failure()) return;
  if (const auto text = heart_store_->try_get("departed/1")) fail(from_text(*text));
}

std::optional<Error> GlooLink::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void GlooLink::fail(const Error& error) {
  std::vector<std::shared_ptr<GlooGroup>> groups;
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = error;
    for (const auto& weak : groups_) {
      if (auto group = weak.lock()) groups.push_back(std::move(group));
    }
  }
  for (const auto& group : groups) group->fail(error);
}

void GlooLink::depart(const std::string& what, const std::string& reason) {
  depart(Error(Code::peer_failed, cat("rank ", options_.rank, " ", what, reason.empty() ? "" : ": ", reason),
               options_.rank));
}

void GlooLink::depart(const Error& error) {
  rendezvous_->hurry();
  try {
    const int64_t place = rendezvous_->add("departed", 1);
    rendezvous_->set(cat("departed/", place), to_text(error));
  } catch (const Error&) {  // the store is gone: the others notice that
  }
  fail(error);
}

void GlooLink::leave() {
  std::optional<Error> cause;
  {
    const std::lock_guard lock(mutex_);
    cause = cause_;
  }
  if (cause) {
    depart(*cause);
  } else {
    depart("left its world", "");
  }
  // The store may end with this process, before others have read why they fail.
  const auto deadline = steady_clock::now() + kPatience / 2;
  try {
    int64_t left = rendezvous_->add("left", 1);
    while (options_.rank == 0 && left < options_.size && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kBeat / 5);
      left = rendezvous_->add("left", 0);
    }
  } catch (const Error&) {  // it has ended already
  }
}

void GlooLink::remember(const Error& cause) {
  const std::lock_guard lock(mutex_);
  if (!cause_) cause_ = cause;
}

Error GlooLink::first_cause(const std::string& key, const Error& own) {
  rendezvous_->hurry();
  try {
    const std::string place = cat("failure/", key);
    if (rendezvous_->add(place + "#", 1) == 1) {
      rendezvous_->set(place, to_text(own));
      return own;
    }
    const auto deadline = steady_clock::now() + kPatience;
    return from_text(rendezvous_->wait_for(place, [&] {
      if (steady_clock::now() > deadline) throw own;
    }));
  } catch (const Error&) {
    return own;
  }
}

std::optional<Error> GlooLink::cause_from(int rank, const std::string& key) {
  rendezvous_->hurry();
  try {
    const std::string place = cat("failure/", key), heart = cat("alive/", rank);
    const auto before = rendezvous_->try_get(heart);
    bool lives = false;
    auto deadline = steady_clock::now() + kBeat * 4;
    for (; steady_clock::now() < deadline; std::this_thread::sleep_for(kBeat / 5)) {
      if (const auto text = rendezvous_->try_get(place)) return from_text(*text);
      if (auto known = failure()) return known;
      if (!lives && rendezvous_->try_get(heart) != before) {
        lives = true;
        deadline += kPatience;
      }
    }
  } catch (const Error&) {  // the store is gone: nobody can say anything
  }
  return std::nullopt;
}

std::vector<GlooLink::State> GlooLink::states_of(const std::vector<int>& ranks) {
  rendezvous_->hurry();
  const auto beats = [&] {
    std::vector<std::optional<std::string>> all;
    for (const int rank : ranks) all.push_back(rendezvous_->try_get(cat("alive/", rank)));
    return all;
  };
  std::vector<State> states;
  try {
    const auto before = beats();
    std::this_thread::sleep_for(kBeat * 5);
    const auto after = beats();
    for (size_t i = 0; i < ranks.size(); ++i) {
      State& state = states.emplace_back();
      state.stopped = !before[i] || !after[i] ||
                      before[i]->substr(0, before[i]->find(' ')) == after[i]->substr(0, after[i]->find(' '));
      if (state.stopped) continue;
      const std::string activity = after[i]->substr(after[i]->find(' ') + 1);
      state.text = activity.empty() ? "it is outside of collectives" : cat("it waits in ", activity);
    }
  } catch (const Error&) {
    return {};
  }
  return states;
}

void GlooLink::set_activity(const std::string& text) {
  const std::lock_guard lock(mutex_);
  activity_ = text;
}

void GlooLink::add_group(const std::shared_ptr<GlooGroup>& group) {
  const std::lock_guard lock(mutex_);
  groups_.push_back(group);
}

GlooWorld::~GlooWorld() {
  if (!ended_) link_->leave();
  link_->stop();
}

GroupPtr GlooWorld::group(const std::string& name, const std::vector<int>& world_ranks) {
  const int index = check_group_ranks(name, world_ranks, rank(), size());
  const std::lock_guard lock(mutex_);
  TESSERA_CHECK(!ended_, state, "group ", name, ": the world of rank ", rank(), " has ended");
  const auto found = groups_.find(name);
  if (found != groups_.end()) {
    TESSERA_CHECK(found->second.first == world_ranks, argument, "group ", name,
                  ": already made with other ranks");
    return found->second.second;
  }
  std::string key = cat("group/", name);
  for (int r : world_ranks) key += cat("/", r);
  // Connecting cannot be interrupted, so it starts when all members are known to be there.
  const auto deadline = steady_clock::now() + options().timeout;
  link_->rendezvous().set(cat(key, "/here/", rank()), "1");
  for (int r : world_ranks) {
    link_->rendezvous().wait_for(cat(key, "/here/", r), [&] {
      if (const auto failure = link_->failure()) throw *failure;
      if (steady_clock::now() < deadline) return;
      throw Error(
          Code::timeout,
          cat("making group ", name, " timed out after ", options().timeout.count(), " ms: missing rank ", r),
          r);
    });
  }
  auto transport = GlooTransport::connect(link_->rendezvous(), key, index,
                                          static_cast<int>(world_ranks.size()), options());
  auto group = std::make_shared<GlooGroup>(name, key, index, world_ranks, link_, std::move(transport));
  link_->add_group(group);
  groups_.emplace(name, std::pair(world_ranks, group));
  return group;
}

void GlooWorld::abort(const std::string& reason) {
  link_->depart("aborted", reason);
}

void GlooWorld::close() {
  std::vector<std::shared_ptr<GlooGroup>> groups;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    for (const auto& [name, entry] : groups_) groups.push_back(entry.second);
  }
  for (const auto& group : groups) group->drain();
  const GroupPtr all = everyone();
  all->barrier();
  link_->expect_end();
  // Nobody disconnects before all know that all have come this far, and the store's host leaves last.
  Rendezvous& store = link_->rendezvous();
  const auto deadline = steady_clock::now() + options().timeout;
  if (store.add("closed", 1) < size() && rank() == 0) {
    while (store.add("closed", 0) < size() && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  link_->stop();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    groups_.clear();
  }
  link_->fail(Error(Code::state, cat("the world of rank ", rank(), " is closed"), rank()));
}

WorldPtr connect_gloo(const WorldOptions& options, std::shared_ptr<Rendezvous> rendezvous) {
  rendezvous->set(cat("arrived/", options.rank), "1");
  rendezvous->wait_for_all("arrived/", options.size, steady_clock::now() + options.timeout);
  return std::make_shared<GlooWorld>(std::make_shared<GlooLink>(options, std::move(rendezvous)));
}

}  // namespace tessera
