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

/// Makes every communicator of this rank report a broken connection from now on, until the next call of
/// fake_device_worlds.
void break_connections(int rank);

/// Host memory behind a device pointer (for the fake NCCL).
std::byte* host_address(const void* device_pointer);
void note_violation(const std::string& text);
/// A stream whose work is done when somebody waits for it.
int64_t new_late_stream();
void queue_on_stream(int64_t stream, std::function<void()> work);
const NcclApi& fake_nccl();

}  // namespace tessera::testing
