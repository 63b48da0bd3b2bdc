// A rank's seat on a device: groups for device memory over a world that connects the same ranks for host
// memory.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "comm/cuda_communication.h"
#include "comm/world.h"

namespace tessera {

/// Where this rank's weights live and its collectives are fast; the cpu, but for the worlds below. Groups
/// take tensors in host memory as well.
at::Device device_of(const World& world);
at::Device device_of(const Group& group);

/// Blocks until the device has done all that this thread has queued on its current stream; throws what has
/// gone wrong there. What computes on a device has failed only when this says so. Nothing to do without a
/// device.
void synchronize(World& world);

/// Bytes of the device that LibTorch's allocator does not count: those that NCCL works on in place. Not what
/// NCCL keeps for itself.
int64_t bytes_beside_allocator(const World& world);

/// World::group, collective over all ranks of the world, each of which names the part that it belongs to; the
/// parts hold every rank once. Connects the groups of GPUs faster.
GroupPtr split_world(World& world, const std::string& name, const std::vector<int>& world_ranks);

/// Collective over the group: memory (uint8) on its device for tensors that its collectives read or write in
/// every step, and that therefore lives as long as training; registered with NCCL where that helps.
at::Tensor collective_memory(Group& group, int64_t bytes);

/// What device worlds are made of; tests put others in place of CUDA and NCCL.
struct DeviceSupport {
  const CudaCommunication* cuda = nullptr;
  const NcclApi* nccl = nullptr;   ///< null: collectives go through host memory
  std::vector<std::string> hosts;  ///< of each rank, as NCCL tells hosts apart; empty: all are on one
};

/// `control` connects the ranks and serves tensors in host memory; `device` is this rank's alone when NCCL is
/// used.
std::shared_ptr<World> make_device_world(std::shared_ptr<World> control, const WorldOptions& options,
                                         at::Device device, const DeviceSupport& support);

/// Puts the ranks of device=cuda on their GPUs: `control` is one process's world, and every rank calls it
/// (collective), or `controls` are all ranks, threads of this process. A rank gets GPU local_rank of those
/// that its process sees, modulo their number. backend=auto means NCCL when no two ranks share a GPU, and
/// host memory otherwise. Processes whose NCCL_HOSTID differ are on hosts of their own, for NCCL and so here:
/// they may share a GPU. Errors: no plugin, no driver, no GPU, no libnccl (device); backend=nccl with ranks
/// that share a GPU (argument).
std::shared_ptr<World> with_cuda(std::shared_ptr<World> control, const WorldOptions& options);
std::vector<std::shared_ptr<World>> with_cuda(const std::vector<std::shared_ptr<World>>& controls,
                                              const WorldOptions& options);

/// Throws unless device=cuda can be tried at all on this machine.
void check_cuda_options(const WorldOptions& options);

/// For World::bind_thread: makes the rank's device the calling thread's current one.
void enter_device(const World& world);

}  // namespace tessera
