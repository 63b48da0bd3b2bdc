// Starting the ranks of this process and what each of them needs.
#include "job.h"

#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "preparing.h"

namespace cli {
namespace {

/// Keeps the failure that matters: the first one that is not the echo of another rank's.
class FirstFailure {
 public:
  void add(const Failure& failure) {
    const std::lock_guard lock(mutex_);
    const bool echo = failure.status() == TESSERA_E_PEER_FAILED;
    if (!failure_ || (failure_->status() == TESSERA_E_PEER_FAILED && !echo)) failure_ = failure;
  }
  void rethrow() const {
    if (failure_) throw Failure(*failure_);
  }

 private:
  std::mutex mutex_;
  std::optional<Failure> failure_;
};

void run_rank(tessera_world world, const std::function<void(const Seat&)>& work, FirstFailure& first) {
  try {
    Seat seat{world};
    check(tessera_world_get_rank, world, &seat.rank);
    check(tessera_world_get_size, world, &seat.size);
    work(seat);
    check(tessera_world_close, world);
  } catch (const Failure& failure) {
    first.add(failure);
    tessera_world_abort(world, failure.what(), nullptr);
  } catch (const std::exception& failure) {
    first.add(Failure(failure.what(), TESSERA_E_INTERNAL));
    tessera_world_abort(world, failure.what(), nullptr);
  }
}

}  // namespace

void run_ranks(const Arguments& arguments, const std::function<void(const Seat&)>& work) {
  tessera_world_options options{};
  tessera_world_options_init(&options, sizeof options);
  check(tessera_world_options_load, &options, arguments.config.get());
  const int ranks = static_cast<int>(arguments.integer("ranks", 0));
  FirstFailure first;
  if (ranks == 0) {
    World world;
    check(tessera_world_create_from_environment, &options, world.out());
    run_rank(world.get(), work, first);
  } else {
    std::vector<tessera_world> handles(ranks);
    check(tessera_world_create_threads, ranks, &options, handles.data());
    std::vector<World> worlds(ranks);
    for (int rank = 0; rank < ranks; ++rank) *worlds[rank].out() = handles[rank];
    std::vector<std::thread> threads;
    for (const World& world : worlds)
      threads.emplace_back([&, handle = world.get()] { run_rank(handle, work, first); });
    for (std::thread& thread : threads) thread.join();
  }
  first.rethrow();
}

Model open_model(const Arguments& arguments) {
  const std::string path = arguments.text("model.path"), config = arguments.text("model.config");
  const std::string plugin = arguments.text("model.plugin");
  Model model;
  if (!path.empty()) {
    if (!config.empty()) throw Failure("both model.path and model.config are set: choose one");
    if (plugin.empty()) {
      check(tessera_model_open, path.c_str(), model.out());
    } else {
      check(tessera_model_open_plugin, path.c_str(), plugin.c_str(), model.out());
    }
  } else if (!config.empty()) {
    std::ifstream file(config);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) throw Failure("model.config: cannot read " + config, TESSERA_E_IO);
    if (plugin.empty()) {
      check(tessera_model_create, text.str().c_str(), model.out());
    } else {
      check(tessera_model_create_plugin, text.str().c_str(), plugin.c_str(), model.out());
    }
  } else {
    throw Failure("model.path is not set");
  }
  return model;
}

Setup set_up(const Arguments& arguments, const Seat& seat) {
  Setup setup;
  tessera_mesh_options options{};
  tessera_mesh_options_init(&options, sizeof options);
  check(tessera_mesh_options_load, &options, arguments.config.get());
  check(tessera_mesh_create, seat.world, &options, setup.mesh.out());
  setup.model = open_model(arguments);
  check(tessera_trainer_create, setup.mesh.get(), setup.model.get(), arguments.config.get(),
        setup.trainer.out());
  return setup;
}

Dataset open_data(const Config& config, const Setup& setup, const Seat& seat) {
  std::optional<PreparingBar> bar;
  if (seat.speaks()) bar.emplace();
  Dataset data;
  check(tessera_dataset_open, config.get(), setup.mesh.get(), setup.model.get(), data.out());
  return data;
}

}  // namespace cli
