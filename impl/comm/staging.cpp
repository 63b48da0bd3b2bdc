// Staging segments: memory files that the owner announces in its table and its peers map when they first need
// them.
#include "comm/staging.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "comm/shared_file.h"
#include "core/error.h"

namespace tessera {
namespace {

constexpr size_t kSmallestSegment = size_t{1} << 20;

}  // namespace

struct Staging::Segment {
  std::unique_ptr<SharedFile> file;
};

Staging::Staging(local::SegmentRef* table, std::vector<const local::SegmentRef*> peers, SharedFileKind kind)
    : table_(table), kind_(kind), peers_(std::move(peers)), peer_segments_(peers_.size()) {}

Staging::~Staging() = default;

Staging::Lease Staging::stage(int64_t bytes) {
  const auto wanted = static_cast<size_t>(bytes);
  // A lease holds a reference, so a segment with one owner is free. The smallest free one that is large
  // enough serves.
  const auto is_free = [](const std::shared_ptr<Segment>& segment) { return segment.use_count() == 1; };
  const auto size_of = [](const std::shared_ptr<Segment>& segment) {
    return segment->file->memory()->bytes();
  };
  size_t best = segments_.size();
  size_t smallest_free = segments_.size();
  for (size_t i = 0; i < segments_.size(); ++i) {
    if (!is_free(segments_[i])) continue;
    if (smallest_free == segments_.size() || size_of(segments_[i]) < size_of(segments_[smallest_free])) {
      smallest_free = i;
    }
    if (size_of(segments_[i]) >= wanted &&
        (best == segments_.size() || size_of(segments_[i]) < size_of(segments_[best]))) {
      best = i;
    }
  }
  if (best == segments_.size()) {
    // None fits: replace a free segment that is too small, so that memory does not pile up, or add one.
    best = smallest_free;
    if (best == local::kSegments) return {};
    auto segment = std::make_shared<Segment>();
    segment->file = SharedFile::create(std::max(kSmallestSegment, std::bit_ceil(wanted)), kind_);
    if (best == segments_.size()) {
      segments_.push_back(segment);
    } else {
      segments_[best] = segment;
    }
    local::SegmentRef& ref = table_[best];
    const std::string& address = segment->file->address();
    TESSERA_CHECK(address.size() < sizeof ref.address, internal, "shared file address is too long");
    ++ref.generation;
    ref.bytes = segment->file->memory()->bytes();
    std::memcpy(ref.address, address.c_str(), address.size() + 1);
  }
  return {.hold = segments_[best],
          .data = segments_[best]->file->memory()->data(),
          .index = static_cast<uint32_t>(best)};
}

const std::byte* Staging::peer_segment(int peer, uint32_t index) {
  TESSERA_CHECK(index < local::kSegments, internal, "rank announced staging segment ", index);
  auto& known = peer_segments_[peer];
  if (known.size() <= index) known.resize(index + 1);
  const local::SegmentRef& ref = peers_[peer][index];
  if (known[index].memory == nullptr || known[index].generation != ref.generation) {
    known[index].memory = SharedFile::attach(ref.address, ref.bytes);
    known[index].generation = ref.generation;
  }
  return known[index].memory->data();
}

}  // namespace tessera
