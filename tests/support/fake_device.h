// A device without hardware, for tests of what runs on GPUs: tensors of LibTorch's PrivateUse1 type whose
// memory only ATen's operators and the fake NCCL can read, and streams on which NCCL's operations run as late
// as they may.
//
// What is wrong on a GPU is wrong here, every time. Host code that reads a device pointer segfaults. An
// operator that mixes device and host tensors throws. Outputs of a collective are NaN until the current
// stream waits for it. Inputs that change, and outputs that are written, while it is under way are noted as
// violations.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "comm/cuda_communication.h"
#include "comm/world.h"

namespace tessera::testing {

/// What the code under test did that would race on a GPU; empties the list.
std::vector<std::string> take_violations();

/// The most memory of all fake devices together that was held at a time since the last call.
size_t take_peak_bytes();

/// Lets all fake devices together hold `more` bytes than they do now; 0: as much as they want.
void limit_memory(size_t more);

/// Ranks that are threads of this process, each with a fake device of its own, connected by the fake NCCL, or
/// through host memory.
std::vector<WorldPtr> fake_device_worlds(int ranks, bool nccl, WorldOptions options = {});

/// Of which host each rank is (DeviceSupport::hosts), for the next call of fake_device_worlds.
void place_on_hosts(std::vector<std::string> hosts);

/// What the fake NCCL has been asked to register since fake_device_worlds.
struct Registrations {
  int made = 0;
  int held = 0;         ///< of communicators that have not ended
  int used_gather = 0;  ///< all-gathers whose output, and reduce-scatters whose input, was registered
  int used_reduce = 0;
  int plain = 0;  ///< all-gathers and reduce-scatters of which it was not
};
Registrations registrations();
/// Makes registering fail on this rank from its n-th attempt on, until fake_device_worlds.
void refuse_registration(int rank, int from_attempt);

/// Makes every communicator of this rank report a broken connection from now on, until the next call of
/// fake_device_worlds.
void break_connections(int rank);

/// Memory of the fake device outside LibTorch's allocator.
void* allocate_device(size_t bytes);
void release_device(void* pointer);
/// Host memory behind a device pointer (for the fake NCCL).
std::byte* host_address(const void* device_pointer);
void note_violation(const std::string& text);
void forget_registrations();
/// A stream whose work is done when somebody waits for it.
int64_t new_late_stream();
/// Whether a late stream waits for everything that this thread has computed.
bool follows_all_computed(int64_t stream);
void queue_on_stream(int64_t stream, std::function<void()> work);
const NcclApi& fake_nccl();

}  // namespace tessera::testing
