// CRC-32C (Castagnoli, as in iSCSI and ext4): what checkpoints and caches check their blocks with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

/// The checksum of `bytes` at `data`, continuing from `previous` (0 to start). Uses the processor's
/// instruction where there is one.
uint32_t crc32c(const void* data, size_t bytes, uint32_t previous = 0);

/// The same by table, for processors without the instruction and to check the other against.
uint32_t crc32c_portable(const void* data, size_t bytes, uint32_t previous = 0);

}  // namespace tessera
