// Staging segments: memory files that the owner announces by process and descriptor and its peers map when
// needed.
#include "comm/staging.h"

#include "core/error.h"

namespace tessera {

struct Staging::Segment {
  SharedMemoryPtr memory;
  int fd = -1;
};

Staging::Staging(local::SegmentRef* table, std::vector<const local::SegmentRef*> peers)
    : table_(table), peers_(std::move(peers)), peer_segments_(peers_.size()) {}

Staging::~Staging() = default;

Staging::Lease Staging::stage(int64_t bytes) {
  throw Error(Code::unsupported, cat("staging of ", bytes, " bytes between processes is not built"));
}

const std::byte* Staging::peer_segment(int peer, uint32_t index) {
  throw Error(Code::unsupported, cat("staging segment ", index, " of rank ", peer, " is not built"));
}

}  // namespace tessera
