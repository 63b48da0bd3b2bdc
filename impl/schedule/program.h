// A training step as a list of instructions, compiled before it runs. FSDP prefetch, gradient accumulation, HSDP,
// recompute, offload and pipeline schedules are compilers to this one instruction set.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

enum class Op : int {
  gather,         ///< start making unit's full weights available
  wait_gather,    ///< the unit's weights may be used from here
  release,        ///< the full weights of the unit are not needed for now
  forward,        ///< unit on micro-batch
  recompute,      ///< unit's forward again, from its saved input
  loss,           ///< head forward and backward on micro-batch
  backward,       ///< unit's input and weight gradients
  backward_input, ///< zero-bubble: input gradient only
  backward_weight,///< zero-bubble: the weight gradients left by backward_input
  reduce,         ///< start reduce-scatter of the unit's weight gradients over dp_shard(+cp)
  wait_reduce,    ///< the sharded gradient is complete on this rank
  reduce_replicas,///< HSDP: start all-reduce of the sharded gradient over dp_replicate
  wait_replicas,
  send_forward, recv_forward, send_backward, recv_backward,  ///< pipeline; peer is a pp coordinate
  offload_shard, ///< shards of unit to host memory
  fetch_shard,
  grad_norm,     ///< global gradient norm, one all-reduce
  optimizer,     ///< unit = -1: all
};

struct Instruction {
  Op op;
  int unit = -1;
  int microbatch = -1;
  int peer = -1;
  bool operator==(const Instruction&) const = default;
};

/// One rank's step.
struct Program {
  std::vector<Instruction> instructions;
  int units = 0;
  int microbatches = 0;
};

/// One instruction a line: "forward u3 mb0".
std::string to_text(const Program& program);
std::string to_text(const Instruction& instruction);
/// Reads what to_text writes; errors name the line.
Program parse_program(const std::string& text);

}  // namespace tessera
