// The key-value store through which ranks of different processes meet: c10d's TCP or file store with errors
// of ours.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/world.h"

namespace c10d {
class Store;
}

namespace tessera {

class Rendezvous {
 public:
  /// Connects to options.rendezvous ("tcp://host:port" or "file:///path"); rank 0 serves a tcp port unless an
  /// agent does. Blocks until the server answers. Throws argument, timeout or peer_failed.
  static std::shared_ptr<Rendezvous> open(const WorldOptions& options);
  ~Rendezvous();

  void set(const std::string& key, const std::string& value);
  std::optional<std::string> try_get(const std::string& key);
  int64_t add(const std::string& key, int64_t amount);
  /// Waits for a key. `poll` is called every few milliseconds and throws to give up.
  std::string wait_for(const std::string& key, const std::function<void()>& poll);
  /// Waits until every rank in 0..size-1 has set prefix + rank; timeout names the ranks that have not.
  std::vector<std::string> wait_for_all(const std::string& prefix, int size,
                                        std::chrono::steady_clock::time_point deadline);

  /// A second connection to the same store, for another thread.
  std::shared_ptr<Rendezvous> clone();
  const std::string& address() const { return address_; }
  /// Address of the rank that serves a tcp store, or empty.
  const std::string& host() const { return host_; }

  struct Handle;
  /// For engines that speak to c10d themselves.
  const Handle& handle() const { return *handle_; }

 private:
  Rendezvous() = default;
  template <class Call>
  auto guarded(const char* what, Call call);

  WorldOptions options_;
  std::string address_;
  std::string host_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace tessera
