// Runs a test body once per rank, each on a thread of its own, with a world of rank threads.
#pragma once

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "comm/world.h"
#include "core/error.h"

namespace tessera::testing {

/// Calls body(world) on one thread for each rank and closes the worlds. A rank that throws aborts its world,
/// so that the others end; then the first exception (by rank) that is not a mere consequence is thrown here.
inline void run_worlds(const std::vector<WorldPtr>& worlds,
                       const std::function<void(const WorldPtr&)>& body) {
  const int size = static_cast<int>(worlds.size());
  std::vector<std::exception_ptr> errors(size);
  std::vector<char> consequence(size, 0);  // not bool: written from all threads
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        worlds[r]->bind_thread();
        body(worlds[r]);
        worlds[r]->close();
      } catch (const Error& error) {
        consequence[r] = error.code() == Code::peer_failed;
        errors[r] = std::current_exception();
        worlds[r]->abort(error.what());
      } catch (const std::exception& error) {
        errors[r] = std::current_exception();
        worlds[r]->abort(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int pass = 0; pass < 2; ++pass) {
    for (int r = 0; r < size; ++r) {
      if (errors[r] && (pass == 1 || !consequence[r])) std::rethrow_exception(errors[r]);
    }
  }
}

/// run_worlds() for `size` rank threads of one thread each.
inline void run_ranks(int size, const std::function<void(const WorldPtr&)>& body, WorldOptions options = {}) {
  options.intra_op_threads = 1;
  run_worlds(World::threads(size, options), body);
}

/// Connects `size` threads as if they were processes; the first error is thrown here.
inline void run_connected(int size, const std::string& rendezvous,
                          const std::function<void(const WorldPtr&)>& body,
                          const std::string& backend = "local") {
  std::vector<std::exception_ptr> errors(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      WorldPtr world;
      try {
        world = World::connect({.rank = r,
                                .size = size,
                                .local_rank = r,
                                .local_size = size,
                                .backend = backend,
                                .rendezvous = rendezvous,
                                .timeout = std::chrono::milliseconds(20000),
                                .intra_op_threads = 1});
        body(world);
        world->close();
      } catch (const std::exception& error) {
        errors[r] = std::current_exception();
        if (world) world->abort(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace tessera::testing
