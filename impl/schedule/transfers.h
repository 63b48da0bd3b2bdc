// Activations and gradients on their way between pipeline stages.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <map>

#include "comm/group.h"
#include "schedule/program.h"

namespace tessera {

/// The transfers of one execution. Messages between two ranks are sent and received in one order
/// (schedule/compile.h), so receives are posted as the program comes to them and waited for when a unit needs
/// what they bring.
class PipelineTransfers {
 public:
  explicit PipelineTransfers(GroupPtr group) : group_(std::move(group)) {}

  /// Starts sending to pp coordinate `now.peer`. The tensor is kept until it has arrived.
  void send(const Instruction& now, const at::Tensor& tensor);
  /// Starts receiving into a new tensor of this shape.
  void receive(const Instruction& now, at::IntArrayRef shape, at::ScalarType dtype);
  /// What the receive `op` for a unit and micro-batch brought; undefined when there was none. Blocks.
  at::Tensor take(Op op, int unit, int microbatch);
  /// Waits until everything sent has arrived.
  void finish();

 private:
  struct Arrival {
    at::Tensor tensor;
    WorkPtr work;
  };

  GroupPtr group_;
  std::deque<Arrival> sent_;  // tensors that peers may still be reading
  std::map<std::tuple<Op, int, int>, Arrival> arriving_;
};

}  // namespace tessera
