// Point-to-point messages over Gloo's TCP transport: what the gloo engine builds its collectives from.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "comm/rendezvous.h"

namespace tessera {

/// Why a message failed, before anyone has asked who is to blame.
struct TransportFailure {
  bool timed_out = false;
  std::string text;
};

/// Connections among the ranks of one group. Sends and receives may be started and waited for by several
/// threads.
class GlooTransport {
 public:
  /// A message under way.
  class Pending {
   public:
    virtual ~Pending() = default;
    /// Blocks until done; throws TransportFailure.
    virtual void wait(std::chrono::milliseconds timeout) = 0;
    /// Makes wait() end at once, on any thread.
    virtual void abort() = 0;
  };

  /// Collective; connects all ranks. Throws Error(peer_failed | timeout).
  static std::unique_ptr<GlooTransport> connect(Rendezvous& rendezvous, const std::string& prefix, int rank,
                                                int size, const WorldOptions& options);
  virtual ~GlooTransport() = default;

  /// The memory must live until the message is done or destroyed. Messages of one pair match by tag, in
  /// order.
  virtual std::shared_ptr<Pending> send(const std::byte* data, size_t bytes, int peer, int tag) = 0;
  virtual std::shared_ptr<Pending> recv(std::byte* data, size_t bytes, int peer, int tag) = 0;
  /// Ends all connections; peers see their messages fail.
  virtual void close() = 0;
};

}  // namespace tessera
