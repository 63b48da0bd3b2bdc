// A training step as a list of instructions, compiled before it runs. FSDP prefetch, gradient accumulation,
// HSDP, recompute, offload and pipeline schedules are compilers to this one instruction set.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

enum class Op : int {
  gather,           ///< start making unit's full weights available
  wait_gather,      ///< the unit's weights may be used from here
  release,          ///< the full weights of the unit are not needed for now
  forward,          ///< unit on micro-batch
  recompute,        ///< unit's forward again, from its saved input
  loss,             ///< head forward and backward on micro-batch
  backward,         ///< unit's input and weight gradients
  backward_input,   ///< zero-bubble: input gradient only
  backward_weight,  ///< zero-bubble: the weight gradients left by backward_input
  reduce,           ///< start reduce-scatter of the unit's weight gradients over dp_shard(+cp)
  wait_reduce,      ///< the sharded gradient is complete on this rank
  reduce_replicas,  ///< HSDP: start all-reduce of the sharded gradient over dp_replicate
  wait_replicas,
  /// Pipeline; peer is a pp coordinate. send_forward u sends the output of u, recv_forward u receives the
  /// input of u, send_backward u sends the gradient of u's input, recv_backward u receives the gradient of
  /// u's output.
  send_forward,
  recv_forward,
  send_backward,
  recv_backward,
  offload_shard,  ///< start copying the unit's sharded gradient, which is complete, to host memory
  fetch_shard,    ///< start copying the unit's sharded weights from there
  grad_norm,      ///< global gradient norm, one all-reduce
  optimizer,      ///< unit = -1: all
  reshard,        ///< like release, but keeps 1/n of the weights for a gather inside groups of n ranks
  evaluate,       ///< head forward and loss on micro-batch, without gradients
  logits,         ///< head forward on micro-batch up to its logits
};

/// What the instruction line starts with: "wait_gather".
std::string_view op_name(Op op);

struct Instruction {
  Op op;
  int unit = -1;
  int microbatch = -1;
  int peer = -1;
  bool operator==(const Instruction&) const = default;
};

/// One rank's step. Units are counted over the whole model, micro-batches over this rank's part of the batch.
struct Program {
  std::vector<Instruction> instructions;
  int units = 0;
  int microbatches = 0;
  bool operator==(const Program&) const = default;
};

/// A line with the counts ("program units=4 microbatches=2"), then one instruction a line: "forward u3 mb0",
/// "send_forward u3 mb0 to 1", "grad_norm".
std::string to_text(const Program& program);
std::string to_text(const Instruction& instruction);
/// Reads what to_text writes, and ignores empty lines and #-comments; errors (format) name the line.
Program parse_program(const std::string& text);

}  // namespace tessera
