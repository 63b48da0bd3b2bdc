// Messages between two ranks of a local group, matched by tag in the order of sending.
#include <algorithm>
#include <cstring>

#include "comm/local_group.h"
#include "comm/local_operation.h"
#include "core/error.h"

namespace tessera {

WorkPtr LocalGroup::send(const at::Tensor& tensor, int destination, int tag) {
  auto message = std::make_shared<Message>();
  message->fingerprint = check_peer_call(OpKind::send, tensor, destination, tag, rank(), size());
  message->tensor = tensor;
  message->sends = true;
  return start_message(std::move(message));
}

WorkPtr LocalGroup::recv(const at::Tensor& tensor, int source, int tag) {
  auto message = std::make_shared<Message>();
  message->fingerprint = check_peer_call(OpKind::recv, tensor, source, tag, rank(), size());
  message->tensor = tensor;
  return start_message(std::move(message));
}

WorkPtr LocalGroup::start_message(MessagePtr message) {
  check_usable();
  message->group = shared_from_this();
  const Lock lock(mutex_);
  messages_.push_back(message);
  progress_messages();
  return message;
}

/// Posts and receives what can be, in order of start, and forgets what is done.
void LocalGroup::progress_messages() {
  // A message must not overtake an earlier one that goes the same way and has not found its place.
  std::vector<bool> send_blocked(size(), false);
  std::vector<std::pair<int, int>> receive_blocked;
  for (auto next = messages_.begin(); next != messages_.end() && !failed();) {
    Message& message = **next;
    const int peer = message.peer();
    if (message.stage == Message::Stage::pending) {
      if (message.sends) {
        if (send_blocked[peer] || !try_send(message)) send_blocked[peer] = true;
      } else {
        const std::pair key{peer, message.fingerprint.tag};
        const bool blocked =
            std::find(receive_blocked.begin(), receive_blocked.end(), key) != receive_blocked.end();
        if (blocked || !try_receive(message)) receive_blocked.push_back(key);
      }
    } else if (message.stage == Message::Stage::posted && message.mail->full.load() == 0) {
      message.stage = Message::Stage::done;
      message.leases.clear();
    }
    next = message.stage == Message::Stage::done ? messages_.erase(next) : std::next(next);
  }
}

bool LocalGroup::try_send(Message& message) {
  const auto in_use = [&](const local::Mail& mail) {
    // A consumed slot stays ours until this rank has seen that it is consumed.
    return std::any_of(messages_.begin(), messages_.end(),
                       [&](const MessagePtr& other) { return other->mail == &mail; });
  };
  for (int i = 0; i < local::kMailSlots; ++i) {
    local::Mail& mail = layout_.mail(rank(), message.peer(), i);
    if (mail.full.load() != 0 || in_use(mail)) continue;
    std::byte* copy_to = nullptr;
    uint32_t index = 0;
    int64_t used = 0;
    if (const int64_t bytes = private_bytes(message.tensor); bytes > 0) {
      // The rest of the segments is left to collectives.
      const auto staged = std::count_if(messages_.begin(), messages_.end(),
                                        [](const MessagePtr& other) { return !other->leases.empty(); });
      if (staged >= local::kSegments - static_cast<int>(local::kRing)) return false;
      message.leases.push_back(staging_.stage(bytes));
      copy_to = message.leases.back().data;
      index = message.leases.back().index;
    }
    mail.number = sent_[message.peer()]++;
    mail.fingerprint = message.fingerprint;
    mail.entry = announce(message.tensor, copy_to, local::Where::staged, index, used);
    message.mail = &mail;
    message.stage = Message::Stage::posted;
    mail.full.store(1);
    seat_->ring(world_rank(message.peer()));
    return true;
  }
  return false;
}

/// The message of this tag from `source` that was sent first, among those that have come.
local::Mail* LocalGroup::oldest_mail(int source, int64_t tag) {
  local::Mail* found = nullptr;
  for (int i = 0; i < local::kMailSlots; ++i) {
    local::Mail& mail = layout_.mail(source, rank(), i);
    if (mail.full.load() == 0 || mail.fingerprint.tag != tag) continue;
    if (found == nullptr || mail.number < found->number) found = &mail;
  }
  return found;
}

bool LocalGroup::try_receive(Message& message) {
  const int source = message.peer();
  local::Mail* found = oldest_mail(source, message.fingerprint.tag);
  if (found == nullptr) return false;
  // While the slots were looked at one by one, an older message may have come into one that was seen empty,
  // and a newer one after it into the one that was found. Whatever is older is there now.
  found = oldest_mail(source, message.fingerprint.tag);

  const Fingerprint& theirs = found->fingerprint;
  if (theirs.dtype != message.fingerprint.dtype || theirs.elements != message.fingerprint.elements) {
    fail_mismatch(cat("group ", name(), ": rank ", world_rank(source), " calls ", describe(theirs), ", rank ",
                      world_rank(rank()), " calls ", describe(message.fingerprint)),
                  source);
    return false;
  }
  if (message.tensor.nbytes() > 0) {
    if (!begin_reading()) return false;
    std::memcpy(message.tensor.data_ptr(), resolve(source, found->entry, nullptr), message.tensor.nbytes());
    if (!end_reading()) return false;
  }
  message.stage = Message::Stage::done;
  found->full.store(0);
  seat_->ring(world_rank(source));
  return true;
}

void LocalGroup::wait(Message& message) {
  wait_for([&] { return message.stage == Message::Stage::done; },
           [&] { return std::vector<int>{world_rank(message.peer())}; },
           [&] { return describe(message.fingerprint); });
}

}  // namespace tessera
