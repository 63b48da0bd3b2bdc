// A send or receive of the gloo engine under way, and the threads that keep receives moving.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "comm/gloo_group.h"
#include "core/error.h"

namespace tessera {

/// The header (a fingerprint) goes ahead, so that sizes that differ are found before they do harm; the
/// payload has a tag of its own, so that messages of one tag may be waited for in any order.
struct GlooGroup::Message final : Work {
  struct Header {
    Fingerprint fingerprint;
    uint32_t number = 0;
    uint32_t padding = 0;
  };
  /// Of a receive. Its payload is asked for by whoever comes first: the lane or the one who waits.
  enum class Stage { posted, opening, open };

  std::shared_ptr<GlooGroup> group;
  Fingerprint fingerprint;
  at::Tensor tensor;
  bool sends = false;
  bool done = false;
  Header header;
  PendingPtr header_message;
  PendingPtr payload;

  std::mutex mutex;  ///< guards stage and error
  std::condition_variable changed;
  Stage stage = Stage::posted;
  std::optional<Error> error;

  int peer() const { return static_cast<int>(fingerprint.root); }
  static int payload_tag(uint32_t number) {
    return kPayloadTag + static_cast<int>(number % static_cast<uint32_t>(kPayloadTag));
  }

  void wait() override;
  /// Waits for the header and asks for the payload; false at once when another thread does so or has done.
  bool open(std::chrono::milliseconds patience);

 private:
  void await_open();
  void ask_for_payload(std::chrono::milliseconds patience);
};

/// The receives of one tag from one rank, in order: a thread asks for their payloads as soon as their headers
/// come, so that the bytes travel while the rank computes and not only when it waits.
class GlooGroup::Lane {
 public:
  Lane();
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  void add(const std::shared_ptr<Message>& message);

 private:
  struct State;

  const std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace tessera
