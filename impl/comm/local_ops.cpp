// Each rank's share of a collective in a local group: where inputs are announced, and what is read from the
// peers.
#include <algorithm>
#include <cstring>

#include "comm/local_group.h"
#include "comm/local_operation.h"
#include "comm/reduce.h"
#include "core/error.h"

namespace tessera {
namespace {

std::byte* data_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

int64_t bytes_of(const at::Tensor& tensor) {
  return static_cast<int64_t>(tensor.nbytes());
}

/// Copies start on cache lines.
int64_t padded(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// An all_reduce cuts a tensor into one slice a rank; borders stay on cache lines.
struct Slice {
  int64_t first;
  int64_t elements;
};
Slice slice_of(int64_t elements, int index, int size) {
  const int64_t length = ((elements + size - 1) / size + 63) / 64 * 64;
  const int64_t first = std::min(elements, length * index);
  return {first, std::min(length, elements - first)};
}

}  // namespace

/// Writes where the peers find this rank's inputs into its slot.
void LocalGroup::post(Operation& operation) {
  local::Slot& slot = layout_.slot(rank(), operation.sequence);
  slot.fingerprint = operation.fingerprint;
  int64_t total = 0;
  int64_t staged = 0;
  for (const at::Tensor& tensor : operation.ins) {
    total += padded(bytes_of(tensor));
    staged += private_bytes(tensor);
  }
  // Small inputs travel inside the slot. Large ones are read where they are, if the peers can, or from one
  // copy.
  std::byte* copy_to = nullptr;
  local::Where where = local::Where::inlined;
  uint32_t index = 0;
  operation.exposes = total > local::kInlineBytes && size() > 1;
  operation.two_phase = operation.exposes && operation.fingerprint.kind == OpKind::all_reduce;
  if (total <= local::kInlineBytes) {
    copy_to = layout_.inlined(slot);
  } else if (staged > 0) {
    operation.leases.push_back(staging_.stage(staged));
    copy_to = operation.leases.back().data;
    index = operation.leases.back().index;
    where = local::Where::staged;
    TESSERA_CHECK(copy_to != nullptr, state, "group ", name(), ": too many operations under way");
  }

  local::Entry* entries = layout_.entries(slot);
  int64_t used = 0;
  if (operation.fingerprint.kind == OpKind::all_to_all) {
    const auto element = static_cast<int64_t>(operation.ins[0].element_size());
    const local::Entry whole = announce(operation.ins[0], copy_to, where, index, used);
    int64_t first = 0;
    slot.entries = size();
    for (int r = 0; r < size(); ++r) {
      entries[r] = whole;
      entries[r].offset += first * element;
      entries[r].elements = operation.in_counts[r];
      first += operation.in_counts[r];
    }
    return;
  }
  slot.entries = operation.ins.size();
  for (size_t i = 0; i < operation.ins.size(); ++i) {
    const at::Tensor& tensor = operation.ins[i];
    entries[i] = announce(tensor, copy_to, where, index, used);
    const bool is_copy = entries[i].where == local::Where::staged;
    operation.views.push_back(is_copy ? copy_to + entries[i].offset : data_of(tensor));
  }
}

/// Bytes of a tensor that the peers cannot read where they are.
int64_t LocalGroup::private_bytes(const at::Tensor& tensor) const {
  uint32_t index = 0;
  if (seat_->same_address_space() || allocation_of(tensor, index) != nullptr) return 0;
  return padded(bytes_of(tensor));
}

/// The start of this rank's part of the shared allocation that holds the tensor, or nullptr.
const std::byte* LocalGroup::allocation_of(const at::Tensor& tensor, uint32_t& index) const {
  const std::byte* data = data_of(tensor);
  for (size_t i = 0; i < allocated_.size(); ++i) {
    const SharedMemory& own = *allocated_[i].parts[rank()];
    if (data >= own.data() && data + bytes_of(tensor) <= own.data() + own.bytes()) {
      index = static_cast<uint32_t>(i);
      return own.data();
    }
  }
  return nullptr;
}

/// Says where the peers find a tensor; copies it behind the first `used` bytes of `copy_to` if they could not
/// reach it.
local::Entry LocalGroup::announce(const at::Tensor& tensor, std::byte* copy_to, local::Where where,
                                  uint32_t index, int64_t& used) {
  local::Entry entry{.where = local::Where::inlined, .elements = tensor.numel()};
  const int64_t bytes = bytes_of(tensor);
  if (bytes == 0) return entry;
  const std::byte* data = data_of(tensor);
  if (copy_to == nullptr || where != local::Where::inlined) {
    uint32_t allocation = 0;
    if (seat_->same_address_space()) {
      entry.offset = reinterpret_cast<uint64_t>(data);
      entry.where = local::Where::direct;
      return entry;
    }
    if (const std::byte* base = allocation_of(tensor, allocation); base != nullptr) {
      entry.offset = static_cast<uint64_t>(data - base);
      entry.where = local::Where::allocated;
      entry.index = allocation;
      return entry;
    }
  }
  std::memcpy(copy_to + used, data, bytes);
  entry.offset = static_cast<uint64_t>(used);
  entry.where = where;
  entry.index = index;
  used += padded(bytes);
  return entry;
}

const std::byte* LocalGroup::resolve(int peer, const local::Entry& entry, local::Slot* slot) {
  switch (entry.where) {
    case local::Where::direct:
      return reinterpret_cast<const std::byte*>(entry.offset);
    case local::Where::inlined:
      return slot == nullptr ? nullptr : layout_.inlined(*slot) + entry.offset;
    case local::Where::staged:
      try {
        return staging_.peer_segment(peer, entry.index) + entry.offset;
      } catch (const Error& error) {
        if (error.code() != Code::peer_failed) throw;
        throw Error(error.code(), cat("rank ", world_rank(peer), " is gone: ", error.what()),
                    world_rank(peer));
      }
    case local::Where::allocated:
      return allocated_[entry.index].parts[peer]->data() + entry.offset;
  }
  throw Error(Code::internal, cat("group ", name(), ": rank ", peer, " announced an unknown kind of memory"));
}

/// All have posted. False when reading is not safe any more or the calls turn out to differ.
bool LocalGroup::run_first(Operation& operation) {
  const OpKind kind = operation.fingerprint.kind;
  const bool reads = kind != OpKind::barrier && kind != OpKind::allocate_shared &&
                     kind != OpKind::allocate_symmetric && size() > 1;
  // What lies inside the slots outlives its owner; everything else needs the owner's memory.
  bool guarded = false;
  if (reads) {
    for (int r = 0; r < size() && !guarded; ++r) {
      local::Slot& slot = layout_.slot(r, operation.sequence);
      for (uint64_t i = 0; i < slot.entries && !guarded; ++i) {
        guarded = r != rank() && layout_.entries(slot)[i].where != local::Where::inlined;
      }
    }
  }
  if (guarded && !begin_reading()) return false;
  switch (kind) {
    case OpKind::all_gather:
      gather(operation);
      break;
    case OpKind::reduce_scatter:
      reduce_own_slice(operation, false);
      break;
    case OpKind::all_reduce:
      reduce_own_slice(operation, !operation.two_phase);
      break;
    case OpKind::all_to_all:
      exchange(operation);
      break;
    case OpKind::broadcast:
      copy_from_root(operation);
      break;
    default:
      break;
  }
  if (guarded && !end_reading()) return false;
  return !failed();
}

void LocalGroup::gather(Operation& operation) {
  for (int step = 0; step < size(); ++step) {
    const int r = (rank() + step) % size();  // start at home, so that not all read the same peer at once
    local::Slot& slot = layout_.slot(r, operation.sequence);
    for (size_t i = 0; i < operation.ins.size(); ++i) {
      const int64_t bytes = bytes_of(operation.ins[i]);
      if (bytes == 0) continue;
      std::byte* target = data_of(operation.outs[i]) + r * bytes;
      const std::byte* source =
          r == rank() ? data_of(operation.ins[i]) : resolve(r, layout_.entries(slot)[i], &slot);
      if (source != target) std::memmove(target, source, bytes);
    }
  }
}

/// reduce_scatter: this rank's part into the output. all_reduce: `whole` into the output (inputs inside the
/// slots), or this rank's slice in place, which nobody else reads or writes before the second phase.
void LocalGroup::reduce_own_slice(Operation& operation, bool whole) {
  const bool scatters = operation.fingerprint.kind == OpKind::reduce_scatter;
  std::vector<const std::byte*> sources(size());
  for (size_t i = 0; i < operation.ins.size(); ++i) {
    const at::Tensor& in = operation.ins[i];
    const at::Tensor& out = operation.outs[i];
    const auto element = static_cast<int64_t>(in.element_size());
    Slice slice{0, in.numel()};
    if (scatters) {
      slice = {rank() * out.numel(), out.numel()};
    } else if (!whole) {
      slice = slice_of(in.numel(), rank(), size());
    }
    if (slice.elements == 0) continue;
    for (int r = 0; r < size(); ++r) {
      local::Slot& slot = layout_.slot(r, operation.sequence);
      const std::byte* base =
          r == rank() && scatters ? data_of(in) : resolve(r, layout_.entries(slot)[i], &slot);
      sources[r] = base + slice.first * element;
    }
    std::byte* target = scatters || whole ? data_of(out) : operation.views[i] + slice.first * element;
    reduce_slices(operation.reduce(), in.scalar_type(), out.scalar_type(), sources, target, slice.elements);
  }
}

/// all_reduce, second phase: every rank has its slice; collect them.
bool LocalGroup::run_second(Operation& operation) {
  if (!begin_reading()) return false;
  for (int step = 0; step < size(); ++step) {
    const int r = (rank() + step) % size();
    local::Slot& slot = layout_.slot(r, operation.sequence);
    for (size_t i = 0; i < operation.outs.size(); ++i) {
      const at::Tensor& out = operation.outs[i];
      const auto element = static_cast<int64_t>(out.element_size());
      const Slice slice = slice_of(out.numel(), r, size());
      if (slice.elements == 0) continue;
      std::byte* target = data_of(out) + slice.first * element;
      const std::byte* base = r == rank() ? operation.views[i] : resolve(r, layout_.entries(slot)[i], &slot);
      const std::byte* source = base + slice.first * element;
      if (source != target) std::memcpy(target, source, slice.elements * element);
    }
  }
  return end_reading();
}

void LocalGroup::exchange(Operation& operation) {
  const auto element = static_cast<int64_t>(operation.outs[0].element_size());
  int64_t first = 0;
  for (int r = 0; r < size(); ++r) {
    local::Slot& slot = layout_.slot(r, operation.sequence);
    const local::Entry& entry = layout_.entries(slot)[rank()];
    const int64_t expected = operation.out_counts[r];
    if (entry.elements != expected) {
      fail_mismatch(cat("group ", name(), ", operation ", operation.sequence, ": all_to_all sends ",
                        entry.elements, " elements from rank ", world_rank(r), " to rank ",
                        world_rank(rank()), ", which expects ", expected),
                    r);
      return;
    }
    if (expected > 0) {
      std::memcpy(data_of(operation.outs[0]) + first * element, resolve(r, entry, &slot), expected * element);
    }
    first += expected;
  }
}

void LocalGroup::copy_from_root(Operation& operation) {
  const int root = operation.fingerprint.root;
  if (root == rank()) return;
  local::Slot& slot = layout_.slot(root, operation.sequence);
  for (size_t i = 0; i < operation.outs.size(); ++i) {
    const int64_t bytes = bytes_of(operation.outs[i]);
    if (bytes > 0) {
      std::memcpy(data_of(operation.outs[i]), resolve(root, layout_.entries(slot)[i], &slot), bytes);
    }
  }
}

}  // namespace tessera
