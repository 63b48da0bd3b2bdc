// The part of gloo::Context that c10d's header and the gloo engine call. LibTorch exports Gloo's symbols but ships no
// Gloo headers.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
  /// Closes the connections to all peers: their operations under way fail.
  void closeConnections();
};

}  // namespace gloo
