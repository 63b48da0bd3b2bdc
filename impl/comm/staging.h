// Where a rank of a multi-process group puts inputs that its peers must read and that lie in private memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/local_layout.h"
#include "comm/shared_memory.h"

namespace tessera {

/// Segments grow with the largest operation under way and are used again; one thread at a time.
class Staging {
 public:
  /// A piece in use; gives it back when the last copy goes.
  struct Segment;
  struct Lease {
    std::shared_ptr<void> hold;
    std::byte* data = nullptr;
    uint32_t index = 0;
  };

  /// `table` is this rank's part of the group's block, `peers[r]` rank r's.
  Staging(local::SegmentRef* table, std::vector<const local::SegmentRef*> peers, SharedFileKind kind);
  ~Staging();

  /// Room for `bytes` that all peers can read at (index, offset 0) while the lease lives. Without data when
  /// all local::kSegments segments are in use.
  Lease stage(int64_t bytes);
  /// Rank `peer`'s segment `index` in this process.
  const std::byte* peer_segment(int peer, uint32_t index);

 private:
  struct PeerSegment {
    uint64_t generation = 0;
    SharedMemoryPtr memory;
  };

  local::SegmentRef* table_;
  SharedFileKind kind_;
  std::vector<const local::SegmentRef*> peers_;
  std::vector<std::shared_ptr<Segment>> segments_;
  std::vector<std::vector<PeerSegment>> peer_segments_;
};

}  // namespace tessera
