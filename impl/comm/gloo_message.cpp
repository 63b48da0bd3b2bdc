// Messages of the gloo engine: headers, payloads, and who asks for them.
#include "comm/gloo_message.h"

namespace tessera {

void GlooGroup::Message::wait() {
  if (done) return;
  const auto patience = group->link_->options().timeout;
  if (sends) {
    group->finish(header_message, peer(), describe(fingerprint), patience);
  } else if (!open(patience)) {
    await_open();
  }
  if (payload) group->finish(payload, peer(), describe(fingerprint), patience);
  done = true;
}

bool GlooGroup::Message::open(std::chrono::milliseconds patience) {
  {
    const std::lock_guard lock(mutex);
    if (stage != Stage::posted) return false;
    stage = Stage::opening;
  }
  std::optional<Error> caught;
  try {
    ask_for_payload(patience);
  } catch (const Error& failure) {
    caught = failure;
  } catch (const std::exception& failure) {
    caught = Error(Code::internal, cat(describe(fingerprint), ": ", failure.what()));
  }
  const std::lock_guard lock(mutex);
  error = caught;
  stage = Stage::open;
  changed.notify_all();
  if (error) throw *error;
  return true;
}

void GlooGroup::Message::await_open() {
  {
    std::unique_lock lock(mutex);
    const bool opened =
        changed.wait_for(lock, group->link_->options().timeout, [&] { return stage == Stage::open; });
    if (error) throw *error;
    if (opened) return;
  }
  group->blame({true, "timed out"}, peer(), describe(fingerprint));
}

void GlooGroup::Message::ask_for_payload(std::chrono::milliseconds patience) {
  const std::string what = describe(fingerprint);
  group->finish(header_message, peer(), what, patience);
  const Fingerprint& theirs = header.fingerprint;
  if (theirs.dtype != fingerprint.dtype || theirs.elements != fingerprint.elements) {
    const int other = group->world_ranks()[peer()];
    const Error own(Code::collective_mismatch,
                    cat("group ", group->name(), ": rank ", other, " calls ", describe(theirs), ", rank ",
                        group->link_->options().rank, " calls ", what),
                    other);
    const Error cause = group->link_->first_cause(group->key_, own);
    group->fail(cause);
    throw cause;
  }
  if (tensor.nbytes() == 0) return;
  try {
    payload = group->track(group->transport_->recv(static_cast<std::byte*>(tensor.data_ptr()),
                                                   tensor.nbytes(), peer(), payload_tag(header.number)));
  } catch (const TransportFailure& failure) {
    group->blame(failure, peer(), what);
  }
}

// Shared with the thread, which may outlive the lane.
struct GlooGroup::Lane::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::weak_ptr<Message>> messages;
  bool stopping = false;

  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || !messages.empty(); });
      if (stopping) return;
      std::shared_ptr<Message> message = messages.front().lock();
      messages.pop_front();
      lock.unlock();
      try {
        // Whoever waits for the message minds the time.
        constexpr std::chrono::hours kNever{24 * 365};
        if (message) message->open(kNever);
      } catch (const Error&) {  // told to the one who waits
      }
      message.reset();
      lock.lock();
    }
  }
};

GlooGroup::Lane::Lane() : state_(std::make_shared<State>()), thread_([state = state_] { state->serve(); }) {}

GlooGroup::Lane::~Lane() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
  }
  // A message holds its group, so the group's last reference may be the lane's own.
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void GlooGroup::Lane::add(const std::shared_ptr<Message>& message) {
  const std::lock_guard lock(state_->mutex);
  state_->messages.push_back(message);
  state_->changed.notify_all();
}

}  // namespace tessera
