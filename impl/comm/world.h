// A rank's seat in a job: its number, its device and its connection to the other ranks. Nothing is
// process-global.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"

namespace tessera {

struct WorldOptions {
  int rank = 0;
  int size = 1;
  int local_rank = 0;
  int local_size = 1;
  /// auto: local when all ranks are on this host, gloo otherwise. local | gloo | nccl.
  std::string backend = "auto";
  /// "cpu" or "cuda" (device index = local_rank).
  std::string device = "cpu";
  /// Where ranks of different processes meet: "tcp://host:port" or "file:///path". Ranks as threads need
  /// none.
  std::string rendezvous;
  /// True when a launcher's agent already serves the rendezvous port (torchrun), so rank 0 must not.
  bool agent_store = false;
  /// Name of the job on this host; keeps shared memory of two jobs apart. Empty: derived from the rendezvous.
  std::string job;
  std::chrono::milliseconds timeout{600'000};
  /// Network interface for the gloo engine ("eth0"); empty: the one that faces the rendezvous.
  std::string network_interface;
  /// The gloo engine compares what the ranks call before each collective (one small message more). The local
  /// engine always does.
  bool check_collectives = true;
  /// Threads that one rank uses inside an operator; 0: cores / local_size, at least 1.
  int intra_op_threads = 0;
  /// caching: tensors of the whole process come from an allocator that keeps freed memory
  /// (kernels/cpu/caching_allocator.h); system: LibTorch's allocator is left as it is.
  std::string allocator = "caching";
  /// device=cuda: whether NCCL uses the memory of gathered weights and of gradients to reduce in place
  /// (comm/nccl_memory.h). auto: groups whose ranks share a host; on: all groups; off.
  std::string register_buffers = "auto";
  /// device=cuda: whether LibTorch's allocator maps memory into segments that grow, which leaves no gaps that
  /// nothing fits into. auto: unless the process says otherwise (PYTORCH_ALLOC_CONF); on; off: as it is.
  /// Holds for the whole process.
  std::string expandable_segments = "auto";
};

class World {
 public:
  virtual ~World() = default;

  /// Explicit options; blocks until all ranks have met or the timeout ends.
  static std::shared_ptr<World> connect(const WorldOptions& options);
  /// Reads torchrun, Open MPI / PMI or Slurm variables (in this order) over `defaults`. The only place in the
  /// library that reads the environment for this. Without any of them: one rank.
  static std::shared_ptr<World> from_environment(const WorldOptions& defaults);
  /// `size` ranks for threads of this process; element r belongs to rank r and is used by one thread.
  static std::vector<std::shared_ptr<World>> threads(int size, const WorldOptions& defaults = {});

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const WorldOptions& options() const = 0;

  /// Collective over `world_ranks` (ascending, containing this rank): the group of that name, made once and
  /// kept.
  virtual GroupPtr group(const std::string& name, const std::vector<int>& world_ranks) = 0;
  /// All ranks.
  GroupPtr everyone();

  /// Tells all other ranks that this one cannot go on: their pending and later collectives end with
  /// peer_failed, this rank's number and `reason`. Any thread; never blocks on peers.
  virtual void abort(const std::string& reason) = 0;
  /// Orderly end: a barrier, then the connections close. Without it the destructor counts as leaving early.
  virtual void close() = 0;

  /// Applies options().intra_op_threads to the calling thread; a rank's thread calls it once before
  /// computing.
  void bind_thread() const;
};
using WorldPtr = std::shared_ptr<World>;

}  // namespace tessera
