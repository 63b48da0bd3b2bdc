// What the worlds for host memory tell the engine for devices, which builds on them.
#pragma once

#include <optional>
#include <vector>

#include "comm/world.h"
#include "core/error.h"

namespace tessera {

class Rendezvous;

class HostWorld : public World {
 public:
  /// Why something that these ranks do together cannot end any more, if that is known. Any thread.
  virtual std::optional<Error> failure_of(const std::vector<int>& world_ranks) const = 0;
  /// The store through which ranks of several hosts meet; null when all share one host.
  virtual Rendezvous* rendezvous() { return nullptr; }
};
using HostWorldPtr = std::shared_ptr<HostWorld>;

}  // namespace tessera
