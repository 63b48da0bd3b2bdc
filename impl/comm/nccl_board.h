// What the ranks of an NCCL group tell each other beside NCCL: which operation each has come to, and the ids
// by which two of them connect. NCCL itself compares nothing and says nothing about who is missing.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/cuda_communication.h"
#include "comm/fingerprint.h"
#include "comm/group.h"

namespace tessera {

class Rendezvous;

/// Where one rank of a group stands.
struct NcclProgress {
  uint64_t sequence = 0;    ///< of the latest collective that it has started
  Fingerprint fingerprint;  ///< of the collective that was asked for
  bool known = false;       ///< the fingerprint is there
};

/// Any thread. Ranks of one host see each other's entries at once, others through the rendezvous, to which a
/// rank writes only what `publish` is called for.
class NcclBoard {
 public:
  using Id = std::vector<char>;

  virtual ~NcclBoard() = default;
  /// Notes that this rank starts collective `sequence` (from 1).
  virtual void start(uint64_t sequence, const Fingerprint& fingerprint) = 0;
  /// What a rank of the group has come to, and what it called as operation `sequence`.
  virtual NcclProgress look(int rank, uint64_t sequence) = 0;
  /// True when look() costs next to nothing.
  virtual bool is_memory() const = 0;
  /// Makes the latest start() visible where that is not so already.
  virtual void publish() {}

  /// Leaves an id for `rank`, once; and finds the one that `rank` left for this one.
  virtual void leave_id(int rank, const Id& id) = 0;
  virtual std::optional<Id> find_id(int rank) = 0;
};

/// Collective over `control`, the same ranks' group for host memory. `rendezvous` is needed when it shares no
/// memory.
std::unique_ptr<NcclBoard> make_nccl_board(Group& control, Rendezvous* rendezvous);

}  // namespace tessera
