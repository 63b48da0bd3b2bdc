// What the parts of the dry NCCL share: communicators, and operations that wait for their ranks.
#pragma once

#include <nccl.h>

#include <set>

#include "dry.h"

namespace dry {

enum class Kind { all_gather, reduce_scatter, all_reduce, broadcast, send, recv };
/// Of one element, in bytes.
size_t size_of(ncclDataType_t type);

/// What one rank gave to an operation.
struct Part {
  const void* in = nullptr;
  void* out = nullptr;
  size_t count = 0;  // as NCCL counts it: of one rank's share, or of everything
  ncclDataType_t type{};
  ncclRedOp_t op{};
  int peer = -1;  // or root
};

/// An operation of several ranks.
struct Round {
  Kind kind{};
  std::map<int, Part> parts;
  MarkPtr done = std::make_shared<Mark>();
};
using RoundPtr = std::shared_ptr<Round>;

/// The ranks of a communicator.
struct Team {
  int ranks = 0;
  int joined = 0;
  bool aborted = false;  // by one: what had not begun never does
  std::map<uint64_t, RoundPtr> rounds;
  std::map<std::pair<int, int>, std::deque<RoundPtr>> sent, wanted;  // from, to
  struct Split {
    int came = 0;
    std::map<int, std::pair<int, int>> wishes;  // of a rank: color, key
    std::map<int, ncclComm_t*> places;
  };
  std::map<int, Split> splits;
};
using TeamPtr = std::shared_ptr<Team>;

/// What one rank holds of a communicator: the ncclComm_t.
struct Comm {
  TeamPtr team;
  int rank = 0;
  int device = 0;
  uint64_t next = 0;
  int split = 0;
  bool aborted = false;
  std::vector<MarkPtr> open;        // of operations that were given to streams
  std::set<const Stream*> streams;  // these
};

/// Logs what is wrong with a call; the result to give back.
ncclResult_t wrong(const char* what, long long value);

inline Comm& of(ncclComm_t comm) {
  return *reinterpret_cast<Comm*>(comm);
}

/// Contents of more bytes are not moved: they mean nothing where kernels compute nothing.
constexpr size_t kMoved = 1 << 16;

/// Writes the outputs of a collective to which all ranks have come (nccl_contents.cpp).
void move(const Round& round);

}  // namespace dry
