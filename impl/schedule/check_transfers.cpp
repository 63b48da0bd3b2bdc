// Pipeline transfers of all ranks run against each other: matching order, no deadlock.
#include <deque>
#include <map>
#include <optional>

#include "core/error.h"
#include "schedule/checker.h"

namespace tessera {
namespace {

bool is_send(Op op) {
  return op == Op::send_forward || op == Op::send_backward;
}
bool is_receive(Op op) {
  return op == Op::recv_forward || op == Op::recv_backward;
}

class TransferSimulation {
 public:
  TransferSimulation(const std::vector<Program>& programs, bool synchronous)
      : programs_(programs), synchronous_(synchronous), next_(programs.size(), 0) {}

  void run() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t rank = 0; rank < programs_.size(); ++rank) {
        while (advance(static_cast<int>(rank))) moved = true;
      }
    }
    for (size_t rank = 0; rank < programs_.size(); ++rank) {
      if (const Instruction* stuck = current(static_cast<int>(rank))) {
        throw Error(Code::internal, cat("programs deadlock: stage ", rank, " waits in ", to_text(*stuck)));
      }
    }
    for (const auto& [channel, queue] : sent_) {
      if (!queue.empty()) {
        throw Error(Code::internal, cat("stage ", channel.first, " sends what stage ", channel.second,
                                        " never receives: ", to_text(queue.front())));
      }
    }
  }

 private:
  const Instruction* current(int rank) const {
    const auto& instructions = programs_[rank].instructions;
    return next_[rank] < instructions.size() ? &instructions[next_[rank]] : nullptr;
  }

  // Runs one instruction of `rank` if it can run.
  bool advance(int rank) {
    const Instruction* now = current(rank);
    if (now == nullptr) return false;
    if (is_send(now->op)) {
      check_peer(*now, rank);
      if (synchronous_) return false;  // done by the receiver
      sent_[{rank, now->peer}].push_back(*now);
    } else if (is_receive(now->op)) {
      check_peer(*now, rank);
      if (!take(*now, rank)) return false;
    }
    ++next_[rank];
    return true;
  }

  void check_peer(const Instruction& now, int rank) const {
    if (now.peer < 0 || now.peer >= static_cast<int>(programs_.size()) || now.peer == rank) {
      throw Error(Code::internal, cat("stage ", rank, ": ", to_text(now), ": no such stage"));
    }
  }

  bool take(const Instruction& receive, int rank) {
    const std::optional<Instruction> send =
        synchronous_ ? waiting_send(receive.peer, rank) : queued_send(receive.peer, rank);
    if (!send) return false;
    const Instruction expected = receive_of(*send, receive.peer);
    if (expected == receive) return true;
    throw Error(Code::internal,
                cat("stage ", rank, " does ", to_text(receive), " where the next transfer is ",
                    to_text(*send), " of stage ", receive.peer));
  }

  std::optional<Instruction> queued_send(int source, int destination) {
    auto& queue = sent_[{source, destination}];
    if (queue.empty()) return std::nullopt;
    const Instruction send = queue.front();
    queue.pop_front();
    return send;
  }

  std::optional<Instruction> waiting_send(int source, int destination) {
    const Instruction* other = current(source);
    if (other == nullptr || !is_send(other->op) || other->peer != destination) return std::nullopt;
    ++next_[source];
    return *other;
  }

  const std::vector<Program>& programs_;
  bool synchronous_;
  std::vector<size_t> next_;
  std::map<std::pair<int, int>, std::deque<Instruction>> sent_;
};

}  // namespace

Instruction receive_of(const Instruction& send, int source) {
  const bool forward = send.op == Op::send_forward;
  return {forward ? Op::recv_forward : Op::recv_backward, send.unit + (forward ? 1 : -1), send.microbatch,
          source};
}

void check_transfers(const std::vector<Program>& programs, bool synchronous) {
  TransferSimulation(programs, synchronous).run();
}

}  // namespace tessera
