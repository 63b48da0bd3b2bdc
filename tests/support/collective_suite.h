// Checks of all collectives of one rank against plain loops; every engine must pass them with the same bits.
#pragma once

#include "comm/world.h"

namespace tessera::testing {

/// Runs every operation with every dtype it knows, odd sizes, empty tensors and lists over `group`. All ranks
/// call it. Failures are GoogleTest expectations. `salt` varies the data.
void exercise_collectives(Group& group, int salt);

/// The same with fewer dtypes and sizes, for engines where a call is dear.
void exercise_collectives_briefly(Group& group, int salt);

/// On tensors of a device, with the dtypes that NCCL knows and messages received in the order in which they
/// were sent.
void exercise_device_collectives(Group& group, at::Device device, int salt);

/// Hash over the bits of the results of a fixed series of operations: equal on all engines.
uint64_t collective_digest(Group& group);

}  // namespace tessera::testing
