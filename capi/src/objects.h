// The objects behind the handles, and the tools with which the entry points reach them.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comm/world.h"
#include "core/config.h"
#include "core/handle.h"
#include "data/dataset.h"
#include "event_queue.h"
#include "exit_guard.h"
#include "firewall.h"
#include "mesh/device_mesh.h"
#include "models/model.h"
#include "operation.h"
#include "rank_thread.h"
#include "structs.h"
#include "tessera/tessera.h"
#include "train/recipe_keys.h"
#include "train/trainer.h"

namespace tessera::capi {

/// One-at-a-time objects are leased for the length of a call, or of the work that an async call started.
class Exclusive {
 public:
  class Lease {
   public:
    Lease() = default;
    explicit Lease(std::atomic<bool>* flag) : flag_(flag) {}
    Lease(Lease&& other) noexcept : flag_(std::exchange(other.flag_, nullptr)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(flag_, other.flag_);
      return *this;
    }
    ~Lease() { release(); }
    void release() noexcept {
      if (flag_ != nullptr) std::exchange(flag_, nullptr)->store(false, std::memory_order_release);
    }

   private:
    std::atomic<bool>* flag_ = nullptr;
  };

  /// Throws busy when the lease is out.
  Lease lease(const char* what) {
    TESSERA_CHECK(!leased_.exchange(true, std::memory_order_acquire), busy, "another call on this ", what,
                  " is running");
    return Lease(&leased_);
  }

 private:
  std::atomic<bool> leased_{false};
};

struct ConfigObject {
  static constexpr auto kKind = TESSERA_KIND_CONFIG;
  mutable std::mutex mutex;
  Config config{recipe_keys()};

  Config snapshot() const {
    const std::lock_guard lock(mutex);
    return config;
  }

  /// A text that took work and did not fit into the caller's buffer, kept for the next call.
  struct Kept {
    std::string question;
    std::string text;
  };
  mutable std::mutex kept_mutex;
  mutable Kept kept;
};

struct WorldObject {
  static constexpr auto kKind = TESSERA_KIND_WORLD;
  explicit WorldObject(WorldPtr connected)
      : world(std::move(connected)),
        thread("tessera-r" + std::to_string(world->rank()), [world = world.get()] { world->bind_thread(); }) {
    watch_for_exit(world);
  }
  WorldPtr world;
  Exclusive use;
  RankThread thread;  ///< destroyed first: its last task may still use `world`
};

struct MeshObject {
  static constexpr auto kKind = TESSERA_KIND_MESH;
  std::shared_ptr<WorldObject> world;
  DeviceMeshPtr mesh;
  Exclusive use;
};

struct TensorObject {
  static constexpr auto kKind = TESSERA_KIND_TENSOR;
  at::Tensor tensor;
};

struct ModelObject {
  static constexpr auto kKind = TESSERA_KIND_MODEL;
  ModelConfig config;     ///< as opened; does not change
  std::string directory;  ///< empty: starts from random weights
  mutable std::mutex mutex;
  std::map<std::string, std::string> tp_plans;  ///< registered so far; under `mutex`

  /// The config with the plans that are registered now.
  ModelConfig snapshot() const {
    ModelConfig copy = config;
    const std::lock_guard lock(mutex);
    copy.tp_plans = tp_plans;
    return copy;
  }
};

struct BatchObject {
  static constexpr auto kKind = TESSERA_KIND_BATCH;
  mutable std::mutex mutex;
  std::vector<PackedBatch> microbatches;

  std::vector<PackedBatch> snapshot() const {
    const std::lock_guard lock(mutex);
    return microbatches;
  }
};

class PushedDataset;

struct DatasetObject {
  static constexpr auto kKind = TESSERA_KIND_DATASET;
  std::unique_ptr<Dataset> dataset;
  PushedDataset* pushed = nullptr;  ///< the same object when the host pushes its documents
  Exclusive use;
};

struct EventsObject {
  static constexpr auto kKind = TESSERA_KIND_EVENTS;
  explicit EventsObject(size_t capacity) : queue(std::make_shared<EventQueue>(capacity)) {}
  std::shared_ptr<EventQueue> queue;
};

struct TrainerObject {
  static constexpr auto kKind = TESSERA_KIND_TRAINER;
  std::shared_ptr<MeshObject> mesh;
  std::unique_ptr<Trainer> trainer;
  std::vector<std::string> names;
  std::atomic<int64_t> steps{0};
  Exclusive use;
  std::mutex events_mutex;
  std::weak_ptr<EventQueue> events;

  std::shared_ptr<EventQueue> event_queue() {
    const std::lock_guard lock(events_mutex);
    return events.lock();
  }
  int rank() const { return mesh->mesh->rank(); }
};

struct FutureObject {
  static constexpr auto kKind = TESSERA_KIND_FUTURE;
  std::shared_ptr<Operation> operation;
  std::mutex taken_mutex;
  bool taken = false;  ///< the object that the work made was handed over
};

template <class Object, class Handle>
std::shared_ptr<Object> find(Handle handle, const char* name) {
  try {
    return std::static_pointer_cast<Object>(HandleTable::instance().find(handle.id, Object::kKind));
  } catch (const Error& error) {
    throw Error(error.code(), cat(name, ": ", error.what()));
  }
}

/// For handles that may be {0}: null then.
template <class Object, class Handle>
std::shared_ptr<Object> find_optional(Handle handle, const char* name) {
  return handle.id == 0 ? nullptr : find<Object>(handle, name);
}

template <class Object, class Handle>
void give(std::shared_ptr<Object> object, Handle* out) {
  out->id = HandleTable::instance().insert(Object::kKind, std::move(object));
}

template <class Object, class Handle>
tessera_status destroy(Handle handle) noexcept {
#ifdef TESSERA_TEST_HOOKS
  if (firewall_hook != nullptr) return guard(nullptr, [] {});
#endif
  return static_cast<tessera_status>(HandleTable::instance().destroy(handle.id, Object::kKind));
}

/// Starts `work` on the rank's thread. The lease and all that `work` holds are let go before the operation
/// ends, so that the next call finds the object free.
template <class T, class Work>
std::shared_ptr<ResultOperation<T>> start(WorldObject& world, Exclusive::Lease lease, Work work) {
  struct Task {
    Exclusive::Lease lease;
    std::optional<Work> work;
  };
  auto operation = std::make_shared<ResultOperation<T>>();
  auto task = std::make_shared<Task>(Task{std::move(lease), std::move(work)});
  operation->on_cancel([task] {
    task->work.reset();  // with what it holds, a dataset's lease among it
    task->lease.release();
  });
  world.thread.post([operation, task]() mutable {
    if (!operation->begin()) return;  // cancelled: the lease is free already
    std::exception_ptr error;
    try {
      operation->value.emplace((*task->work)());
    } catch (...) {
      error = std::current_exception();
    }
    task->lease.release();
    task.reset();
    operation->finish(std::move(error));
  });
  return operation;
}

/// The blocking form: starts, waits, and returns the result or throws the error.
template <class T>
T finish(const std::shared_ptr<ResultOperation<T>>& operation) {
  operation->wait(std::nullopt);
  operation->result();
  return std::move(*operation->value);
}

template <class T>
void give_future(std::shared_ptr<ResultOperation<T>> operation, tessera_future* out_future) {
  auto future = std::make_shared<FutureObject>();
  future->operation = std::move(operation);
  give(std::move(future), out_future);
}

/// What an operation without a result returns.
struct Nothing {};

/// The handle of an object that a blocking form made, or that a future hands over.
using Tokens = std::vector<int64_t>;

tessera_metrics to_c(const StepMetrics& metrics);

}  // namespace tessera::capi
