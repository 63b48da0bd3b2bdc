// Starts copies of the running test program as ranks, and collects what they print.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "comm/world.h"

namespace tessera::testing {

/// Names the variable that tells a copy of the program which part to play; such a copy runs only the gtest
/// "RankProcess.DISABLED_Play".
inline constexpr const char* kRoleVariable = "TESSERA_TEST_ROLE";

class RankProcesses {
 public:
  /// Starts `size` copies that play `role` and connect with `backend` at `rendezvous`
  /// (options_from_parent()).
  RankProcesses(const std::string& role, int size, const std::string& backend, const std::string& rendezvous,
                std::chrono::milliseconds timeout);
  ~RankProcesses();  ///< kills what still runs

  void kill(int rank);
  void stop(int rank);  ///< SIGSTOP
  /// Waits until the rank has printed a line that starts with `text`.
  void await_line(int rank, const std::string& text);
  /// Reads until the rank closes its output, waits for its end and returns all it printed.
  std::string finish(int rank);
  /// Exit status, or 128 + signal, after finish().
  int status(int rank) const { return children_[rank].status; }

 private:
  struct Child {
    pid_t pid = -1;
    int output = -1;
    std::string text;
    int status = -1;
  };
  bool read_more(Child& child, int timeout_ms);

  std::vector<Child> children_;
};

/// In a copy: how to connect.
WorldOptions options_from_parent();

/// "file:///..." in a fresh temporary directory that is removed by the destructor.
class TemporaryRendezvous {
 public:
  TemporaryRendezvous();
  ~TemporaryRendezvous();
  std::string address() const { return "file://" + directory_ + "/rendezvous"; }

 private:
  std::string directory_;
};

/// "tcp://127.0.0.1:port" with a port that is free now.
std::string free_tcp_rendezvous();

}  // namespace tessera::testing
