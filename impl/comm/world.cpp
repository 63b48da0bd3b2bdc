// Makes worlds: ranks as threads of this process, and the common parts of all engines.
#include "comm/world.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <numeric>

#include "comm/device_world.h"
#include "comm/gloo_world.h"
#include "comm/local_world.h"
#include "comm/process_space.h"
#include "comm/rendezvous.h"
#include "core/error.h"
#include "kernels/cpu/caching_allocator.h"

namespace tessera {
namespace {

int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

void check_options(const WorldOptions& options) {
  TESSERA_CHECK(options.size >= 1, argument, "size=", options.size, " must be at least 1");
  TESSERA_CHECK(options.rank >= 0 && options.rank < options.size, argument, "rank=", options.rank,
                " is not in a world of ", options.size);
  TESSERA_CHECK(options.local_size >= 1 && options.local_size <= options.size, argument,
                "local_size=", options.local_size, " is not between 1 and size=", options.size);
  TESSERA_CHECK(options.local_rank >= 0 && options.local_rank < options.local_size, argument,
                "local_rank=", options.local_rank, " is not below local_size=", options.local_size);
  TESSERA_CHECK(options.timeout.count() > 0, argument, "timeout=", options.timeout.count(),
                " ms must be positive");
  TESSERA_CHECK(options.intra_op_threads >= 0, argument, "intra_op_threads=", options.intra_op_threads,
                " is negative");
  TESSERA_CHECK(options.device == "cpu" || options.device == "cuda", argument, "device=", options.device,
                " is unknown: expected cpu or cuda");
  if (options.device == "cuda") check_cuda_options(options);
  TESSERA_CHECK(options.allocator == "caching" || options.allocator == "system", argument,
                "allocator=", options.allocator, " is unknown: expected caching or system");
  for (const auto& [name, value] : {std::pair("register_buffers", &options.register_buffers),
                                    std::pair("expandable_segments", &options.expandable_segments)}) {
    TESSERA_CHECK(*value == "auto" || *value == "on" || *value == "off", argument, name, "=", *value,
                  " is unknown: expected auto, on or off");
  }
  TESSERA_CHECK(options.backend == "auto" || options.backend == "local" || options.backend == "gloo" ||
                    options.backend == "nccl",
                argument, "backend=", options.backend, " is unknown: expected auto, local, gloo or nccl");
  TESSERA_CHECK(options.backend != "nccl" || options.device == "cuda", unsupported,
                "backend=nccl needs device=cuda and the CUDA plugin");
}

/// Before ranks start to make tensors: LibTorch's own switch is not thread-safe.
void install_allocator(const WorldOptions& options) {
  if (options.allocator == "caching") kernels::install_caching_allocator();
}

/// The ranks' connection for host memory, which device=cuda has too.
WorldOptions for_host_memory(const WorldOptions& options) {
  WorldOptions host = options;
  host.device = "cpu";
  if (host.backend == "nccl") host.backend = "auto";
  return host;
}

/// One rank needs nobody to meet.
WorldPtr connect_alone(const WorldOptions& options) {
  WorldOptions alone = options;
  alone.backend = "local";
  return World::threads(1, alone).front();
}

WorldPtr connect_host_memory(const WorldOptions& options) {
  if (options.size == 1 && options.backend != "gloo") return connect_alone(options);
  const bool one_host = options.local_size == options.size;
  TESSERA_CHECK(one_host || options.backend != "local", argument,
                "backend=local needs all ranks on one host, but ", "local_size=", options.local_size,
                " of size=", options.size);
  auto rendezvous = Rendezvous::open(options);
  if (one_host && options.backend != "gloo") return connect_local_processes(options, std::move(rendezvous));
  return connect_gloo(options, std::move(rendezvous));
}

}  // namespace

std::vector<WorldPtr> World::threads(int size, const WorldOptions& defaults) {
  TESSERA_CHECK(size >= 1, argument, "size=", size, " must be at least 1");
  if (defaults.device == "cuda") {
    WorldOptions wanted = defaults;
    wanted.size = wanted.local_size = size;
    wanted.rank = wanted.local_rank = 0;
    check_options(wanted);
    return with_cuda(threads(size, for_host_memory(defaults)), wanted);
  }
  TESSERA_CHECK(defaults.backend == "auto" || defaults.backend == "local", unsupported,
                "backend=", defaults.backend,
                " does not serve ranks that are threads: expected auto or local");
  WorldOptions options = defaults;
  options.size = options.local_size = size;
  options.rank = options.local_rank = 0;
  options.backend = "local";
  check_options(options);
  install_allocator(options);

  auto space = std::make_shared<ThreadSpace>();
  SharedMemoryPtr memory = map_anonymous(WorldBlock::bytes(size));
  std::vector<WorldPtr> worlds;
  for (int r = 0; r < size; ++r) {
    options.rank = options.local_rank = r;
    worlds.push_back(std::make_shared<LocalWorld>(std::make_shared<LocalSeat>(options, space, memory)));
  }
  return worlds;
}

WorldPtr World::connect(const WorldOptions& options) {
  check_options(options);
  install_allocator(options);
  if (options.device == "cuda") return with_cuda(connect_host_memory(for_host_memory(options)), options);
  return connect_host_memory(options);
}

GroupPtr World::everyone() {
  std::vector<int> ranks(size());
  std::iota(ranks.begin(), ranks.end(), 0);
  return group("world", ranks);
}

void World::bind_thread() const {
  const int wanted = options().intra_op_threads;
  at::set_num_threads(wanted > 0 ? wanted : std::max(1, usable_cores() / options().local_size));
  enter_device(*this);
}

}  // namespace tessera
