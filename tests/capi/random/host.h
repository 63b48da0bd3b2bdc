// A host that calls the C ABI at random: the handles it holds, the files it has, and one caller per thread
// that makes arguments of every kind, sound ones, odd ones and wrong ones. What it may not do is what no C
// library can see: hand over pointers to memory that is not there, or lengths beyond an array's end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "tessera/tessera.h"

namespace random_host {

constexpr int kKinds = TESSERA_KIND_TOKENIZER + 1;

/// A rank's objects of a job whose ranks are called in step.
struct Seat {
  tessera_world world{};
  tessera_mesh mesh{};
  tessera_trainer trainer{};
  tessera_dataset dataset{};
};
using Job = std::vector<Seat>;

/// What the threads of one sequence share.
struct Host {
  explicit Host(std::string folder);
  ~Host();

  /// A handle of the kind, live if there is one; {0} otherwise.
  uint64_t live(int kind, uint64_t choice);
  uint64_t stale(uint64_t choice);
  void made(int kind, uint64_t id);
  void destroyed(int kind, uint64_t id);
  std::vector<uint64_t> all(int kind);

  /// Memory that a tensor may still look at when its handle is gone.
  void* keep(size_t bytes);
  void give_dlpack(DLManagedTensorVersioned* tensor);
  DLManagedTensorVersioned* take_dlpack();

  Job job(uint64_t choice);
  void add_job(Job made);

  const std::string folder;
  std::atomic<bool> ending{false};

 private:
  std::mutex mutex_;
  std::vector<uint64_t> live_[kKinds];
  std::vector<uint64_t> stale_;
  std::vector<std::unique_ptr<char[]>> kept_;
  std::vector<DLManagedTensorVersioned*> dlpacks_;
  std::vector<Job> jobs_;
};

/// One thread of the host. Every choice comes from its seed.
class Caller {
 public:
  Caller(Host& host, uint64_t seed, int number);
  ~Caller();

  /// One call of any function with arguments made at random.
  void call_any();
  /// One operation of a whole job: the same call on every rank, perhaps with a rank that is left out, called
  /// twice or cancelled. Defined in jobs.cpp.
  void call_together();
  /// Makes files, models, configs, batches and a job. Defined in jobs.cpp.
  void furnish();

  uint64_t below(uint64_t n) { return n == 0 ? 0 : random_() % n; }
  bool chance(int percent) { return below(100) < static_cast<uint64_t>(percent); }
  template <class T>
  const T& one_of(const std::vector<T>& values) {
    return values[below(values.size())];
  }

  int64_t odd_number();
  int64_t small_number() { return static_cast<int64_t>(below(9)); }
  std::string text(const std::string& name);
  std::string path();
  /// A value for the key: within its bounds or choices, or odd.
  std::string value_of(const tessera_key_info& key, bool odd);
  tessera_key_info key();
  int64_t bounded_timeout();

  void begin(const char* function);
  void note(const std::string& argument);
  /// Looks at what a call returned; the error struct must agree and say something.
  void end(tessera_status status, const tessera_error* err);

  Host& host;
  const int number;
  /// Of the call under way; empty between calls.
  std::string trace() const;

  // What one call needs; used by make() in arguments.h.
  struct Call {
    const char* name = "";
    size_t last_length = 0;    ///< elements of the array made last
    size_t token_count = 0;    ///< of `tokens`, for what belongs to them
    size_t lengths_count = 0;  ///< of `lengths` and `text_ends`, for outputs of that size
    size_t tensor_bytes = 0;   ///< what `dims` describe
    int32_t dtype = 0;
    int32_t form = 0;
    int64_t size = 1;
    const tessera_error* err = nullptr;
    std::vector<std::function<void(tessera_status)>> after;
    std::vector<std::unique_ptr<char[]>> memory;
  };
  Call call;
  void* memory(size_t bytes);
  const char* text_memory(const std::string& text);

  std::atomic<const char*> running{nullptr};
  std::atomic<int64_t> since_ns{0};

 private:
  std::mt19937_64 random_;
  mutable std::mutex trace_mutex_;
  std::deque<std::string> trace_;
};

/// A job of one to four ranks with meshes, trainers and datasets, as far as its settings go together.
void make_job(Caller& caller);

/// Prints what is wrong with all callers' traces and ends the process with a core.
[[noreturn]] void fail(const std::string& what);
/// The traces of all callers on stderr.
void print_traces();
int64_t now_ns();
/// Messages seen, with numbers and quoted parts taken out: for reading them all.
void record_message(const char* function, tessera_status status, const char* message);
void print_messages();
/// True when a caller has been in one call for longer; prints which.
bool hanging(std::chrono::seconds longest);

}  // namespace random_host
