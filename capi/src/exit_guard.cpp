// Counts running work and waits for it in a handler of `exit`.
#include "exit_guard.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace tessera::capi {
namespace {

/// A step of a large model on few cores takes seconds; a host that has called exit() waits no longer than
/// this.
constexpr std::chrono::seconds kPatience{20};

/// Of the process, because its end is. Never destroyed: threads may look at it until the very end.
struct Guard {
  std::mutex mutex;
  std::condition_variable ended;
  std::vector<std::weak_ptr<World>> worlds;
  uint64_t done = 0;
  uint64_t running = 0;
  bool ending = false;
};

Guard& guard() {
  static Guard* const only = [] {
    static Guard* const made = new Guard;
    // No thread of this library runs in the child of a fork.
    pthread_atfork([] { made->mutex.lock(); }, [] { made->mutex.unlock(); },
                   [] {
                     made->running = 0;
                     made->worlds.clear();
                     made->mutex.unlock();
                   });
    return made;
  }();
  return *only;
}

void wait_for_work() {
  Guard& state = guard();
  std::unique_lock lock(state.mutex);
  if (std::exchange(state.ending, true) || state.running == 0) return;
  std::vector<WorldPtr> worlds;
  for (const auto& world : state.worlds) {
    if (auto alive = world.lock()) worlds.push_back(std::move(alive));
  }
  lock.unlock();
  for (const WorldPtr& world : worlds) {
    try {
      world->abort("its process ends");
    } catch (...) {  // its work is waited for all the same
    }
  }
  lock.lock();
  state.ended.wait_for(lock, kPatience, [&] { return state.running == 0; });
  lock.unlock();
  // Destroying a world now could wait for a thread that never comes back.
  static auto* const kept = new std::vector<WorldPtr>;
  *kept = std::move(worlds);
}

}  // namespace

RunningWork::RunningWork() {
  Guard& state = guard();
  std::unique_lock lock(state.mutex);
  state.ended.wait(lock, [&] { return !state.ending; });
  ++state.running;
}

RunningWork::~RunningWork() {
  Guard& state = guard();
  const std::lock_guard lock(state.mutex);
  if (--state.running == 0) state.ended.notify_all();
  // Handlers run in the opposite order of their registration, and LibTorch registers destructors whenever it
  // first uses something. Registering again, ever more rarely, puts this handler before those. What work that
  // still runs has used for the first time remains: a process that ends during its very first step may still
  // be cut off.
  const uint64_t done = ++state.done;
  if (done <= 64 || (done & (done - 1)) == 0) std::atexit(wait_for_work);
}

void watch_for_exit(const WorldPtr& world) {
  Guard& state = guard();
  const std::lock_guard lock(state.mutex);
  std::erase_if(state.worlds, [](const auto& other) { return other.expired(); });
  state.worlds.push_back(world);
}

bool process_is_ending() {
  Guard& state = guard();
  const std::lock_guard lock(state.mutex);
  return state.ending;
}

}  // namespace tessera::capi
