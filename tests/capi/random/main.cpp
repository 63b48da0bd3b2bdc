// Sequences of random calls of the whole C interface, from several threads at once, on live, destroyed, wrong
// and invented handles. Whatever a host does, each call returns a status with a clear message, all work ends,
// nothing leaks and nothing crashes; the sanitizers' builds look for what does not show.
//
//   tessera_random_host [first seed] [sequences]     TESSERA_SEQUENCES gives the number too
//   TESSERA_MESSAGES=1 prints every message seen, for reading
#include <dirent.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "../generated_calls.h"
#include "arguments.h"

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __asan_on_error() {
  random_host::print_traces();
}
#endif

namespace random_host {
namespace {

using Entry = void (*)(Caller&);
constexpr Entry kEntries[] = {
#define CALL(function, ...) [](Caller& caller) { invoke(caller, #function, function, {__VA_ARGS__}); },
    TESSERA_EVERY_FUNCTION(CALL)
#undef CALL
};

#if defined(__SANITIZE_THREAD__)
constexpr std::chrono::seconds kPatience{180};
#else
constexpr std::chrono::seconds kPatience{60};
#endif

uint64_t current_seed = 0;

/// Ends the process when a call does not return, with the stacks of all threads where gdb is there.
void watch(const std::atomic<bool>& stop) {
  while (!stop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (!hanging(kPatience)) continue;
    const std::string stacks = "gdb -p " + std::to_string(getpid()) +
                               " --batch -ex 'thread apply all bt 12' 2>/dev/null | grep -v '^\\[New' >&2";
    if (std::system(stacks.c_str()) != 0) std::fprintf(stderr, "no stacks: no gdb\n");
    fail("a call does not return, seed " + std::to_string(current_seed));
  }
}

/// Threads of ranks that still run.
int rank_threads() {
  int count = 0;
  std::error_code ignored;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    count += name.starts_with("tessera-r") ? 1 : 0;
  }
  return count;
}

void destroy_one(Caller& caller, int kind, uint64_t id) {
  caller.since_ns.store(now_ns());
  caller.running.store("destroy at the end");
  switch (kind) {
    case TESSERA_KIND_CONFIG:
      tessera_config_destroy({id});
      break;
    case TESSERA_KIND_WORLD:
      tessera_world_destroy({id});
      break;
    case TESSERA_KIND_MESH:
      tessera_mesh_destroy({id});
      break;
    case TESSERA_KIND_TENSOR:
      tessera_tensor_destroy({id});
      break;
    case TESSERA_KIND_MODEL:
      tessera_model_destroy({id});
      break;
    case TESSERA_KIND_BATCH:
      tessera_batch_destroy({id});
      break;
    case TESSERA_KIND_DATASET:
      tessera_dataset_destroy({id});
      break;
    case TESSERA_KIND_TRAINER:
      tessera_trainer_destroy({id});
      break;
    case TESSERA_KIND_FUTURE:
      tessera_future_destroy({id});
      break;
    case TESSERA_KIND_EVENTS:
      tessera_events_destroy({id});
      break;
    default:
      tessera_tokenizer_destroy({id});
  }
  caller.running.store(nullptr);
  caller.host.destroyed(kind, id);
}

/// Everything, in any order.
void destroy_all(Caller& caller) {
  std::vector<std::pair<int, uint64_t>> left;
  for (int kind = 1; kind < kKinds; ++kind)
    for (const uint64_t id : caller.host.all(kind)) left.emplace_back(kind, id);
  for (size_t i = left.size(); i > 1; --i) std::swap(left[i - 1], left[caller.below(i)]);
  for (const auto& [kind, id] : left) destroy_one(caller, kind, id);
}

template <class Condition>
void expect_soon(const char* what, Condition condition) {
  const int64_t end = now_ns() + std::chrono::nanoseconds(kPatience).count();
  while (!condition()) {
    if (now_ns() > end) fail(std::string(what) + ", seed " + std::to_string(current_seed));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void run(uint64_t seed, const std::string& folder) {
  current_seed = seed;
  Host host(folder + "/" + std::to_string(seed));
  std::filesystem::current_path(host.folder);
  Caller first(host, seed, 0);
  tessera_log_set_level(TESSERA_LOG_OFF, nullptr);
  first.furnish();
  const uint64_t threads = 1 + first.below(4);
  const uint64_t calls = 20 + first.below(60);
  std::atomic<uint64_t> running{threads};
  std::vector<std::thread> hosts;
  for (uint64_t t = 0; t < threads; ++t) {
    hosts.emplace_back([&, t] {
      Caller caller(host, seed * 1000 + t + 1, static_cast<int>(t + 1));
      for (uint64_t i = 0; i < calls; ++i) caller.chance(25) ? caller.call_together() : caller.call_any();
      --running;
    });
  }
  // Ends waits without end for events that do not come.
  const int64_t soon = now_ns() + 200'000'000;
  while (running > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (now_ns() < soon) continue;
    host.ending = true;
    for (const uint64_t id : host.all(TESSERA_KIND_EVENTS)) tessera_events_destroy({id});
  }
  for (std::thread& thread : hosts) thread.join();
  destroy_all(first);
  int64_t handles = -1;
  tessera_handle_count(TESSERA_KIND_ANY, &handles, nullptr);
  if (handles != 0) fail(std::to_string(handles) + " handles are left, seed " + std::to_string(seed));
  expect_soon("threads of ranks that nobody holds go on", [] { return rank_threads() == 0; });
}

}  // namespace

void Caller::call_any() {
  kEntries[below(std::size(kEntries))](*this);
}

}  // namespace random_host

int main(int argc, char** argv) {
  using namespace random_host;
  const char* const from_environment = std::getenv("TESSERA_SEQUENCES");
  const uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const uint64_t count = argc > 2           ? std::strtoull(argv[2], nullptr, 10)
                         : from_environment ? std::strtoull(from_environment, nullptr, 10)
                                            : 40;
  std::string folder = (std::filesystem::temp_directory_path() / "tessera-random-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 2;
  std::atomic<bool> stop{false};
  std::thread watchdog(watch, std::cref(stop));
  for (uint64_t seed = first; seed < first + count; ++seed) {
    std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(seed));
    run(seed, folder);
  }
  stop = true;
  watchdog.join();
  std::filesystem::current_path("/");
  std::filesystem::remove_all(folder);
  if (std::getenv("TESSERA_MESSAGES") != nullptr) print_messages();
  std::printf("%llu sequences\n", static_cast<unsigned long long>(count));
  return 0;
}
