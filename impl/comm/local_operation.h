// The state of a collective and of a message under way in a local group.
#pragma once

#include "comm/local_group.h"

namespace tessera {

struct LocalGroup::Operation final : Work {
  enum class Stage { posted, halfway, output };

  std::shared_ptr<LocalGroup> group;
  Fingerprint fingerprint;
  uint64_t sequence = 0;
  Stage stage = Stage::posted;
  std::vector<at::Tensor> outs;  ///< all_reduce, broadcast: the tensors
  std::vector<at::Tensor> ins;
  std::vector<int64_t> out_counts;  ///< all_to_all, in elements
  std::vector<int64_t> in_counts;
  std::vector<bool> seen;         ///< peers that have posted the same operation
  std::vector<std::byte*> views;  ///< all_reduce: where the peers see each tensor
  std::vector<Staging::Lease> leases;
  bool exposes = false;  ///< peers read memory outside the slot
  bool two_phase = false;
  bool complete = false;  ///< peers have finished reading, too

  ReduceOp reduce() const { return static_cast<ReduceOp>(fingerprint.reduce); }
  void wait() override { group->wait(*this, true); }
  void wait_output() override { group->wait(*this, false); }
};

struct LocalGroup::Message final : Work {
  enum class Stage { pending, posted, done };

  std::shared_ptr<LocalGroup> group;
  Fingerprint fingerprint;
  at::Tensor tensor;
  bool sends = false;
  Stage stage = Stage::pending;
  local::Mail* mail = nullptr;
  std::vector<Staging::Lease> leases;

  int peer() const { return fingerprint.root; }
  void wait() override { group->wait(*this); }
};

}  // namespace tessera
