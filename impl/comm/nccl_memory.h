// Device memory that NCCL knows of (user-buffer registration), for what a group gathers into and reduces from
// in every step: collectives then read and write it in place, over NVLink and in its switches, in place of
// copying through buffers of NCCL's own, which takes less of the GPU away from computing.
//
// Registered is with ncclCommRegister, memory comes from ncclMemAlloc, which the multicast of NVLink switches
// needs, and not from LibTorch's allocator: so neither binds the other (NCCL leaves registered memory of
// several physical pieces, as expandable segments are, unused). NCCL decides per call whether it uses a
// registration, and does so by what *all* ranks of the host have registered, which it asks them for only
// where it has one itself: ranks that differ would wait for each other for ever. Hence all of a group
// register the same, or none does. Windows (ncclCommWindowRegister) are collective, leave peers waiting and
// the communicator unusable when one rank fails, and want both sides of a call registered: not used.
#pragma once

#include <ATen/core/Tensor.h>

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "comm/group.h"
#include "comm/nccl_link.h"

namespace tessera {

/// Registered memory of one group on one rank. It is given back when its last tensor goes, deregistered
/// before; after the communicator has ended, which ends its registrations, it is plain memory.
class NcclMemory : public std::enable_shared_from_this<NcclMemory> {
 public:
  /// Collective over `control`: whether all ranks of a group want to register, by their options, their NCCL
  /// and the hosts they are on (WorldOptions::register_buffers).
  static bool agree(Group& control, NcclLink& link);

  NcclMemory(std::string group, const std::shared_ptr<NcclLink>& link, std::shared_ptr<NcclComm> comm);
  ~NcclMemory();

  /// Collective over `control`, the group's ranks. Undefined when it failed on one of them: then all go
  /// without from here on.
  at::Tensor allocate(Group& control, int64_t bytes);

 private:
  struct Block {
    void* memory = nullptr;
    void* handle = nullptr;
    int64_t bytes = 0;
  };

  Block make(int64_t bytes, std::string& reason);
  /// Any thread, when a tensor goes.
  void give_back(const Block& block) noexcept;
  void free(const Block& block) noexcept;
  void free_unused() noexcept;

  const std::string group_;
  const std::weak_ptr<NcclLink> link_;
  const std::shared_ptr<NcclComm> comm_;
  const NcclApi& nccl_;
  const CudaCommunication& cuda_;
  const at::Device device_;
  bool enabled_ = true;  // rank's thread

  std::mutex mutex_;         ///< guards unused_
  std::list<Block> unused_;  ///< came back on the watchdog's thread, which must not wait for the device
};

}  // namespace tessera
