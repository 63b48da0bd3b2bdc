// The key-value store through which ranks of different processes meet: c10d's TCP or file store with errors
// of ours.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/bounded_calls.h"
#include "comm/world.h"

namespace c10d {
class Store;
}

namespace tessera {

/// Every function ends within options.timeout and two seconds more, also when the network has gone: an error
/// (timeout) then, and at once from there on.
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

  /// Something has failed already: from here on calls wait two seconds at most.
  void hurry();
  /// Ends the call under way and all later ones with the error.
  void cancel() { calls_.cancel(); }

  struct Handle;
  /// For engines that speak to c10d themselves: `speak` runs with the store on a thread of the rendezvous,
  /// owns what it uses, and may need `times` the timeout.
  void with_store(const char* what, const std::function<void(const Handle&)>& speak, int times);

 private:
  Rendezvous() = default;
  template <class Call>
  auto guarded(const char* what, Call call, int times = 1);

  WorldOptions options_;
  std::string address_;
  std::string host_;
  std::atomic<bool> hurried_{false};
  std::shared_ptr<Handle> handle_;
  BoundedCalls calls_;
};

}  // namespace tessera
