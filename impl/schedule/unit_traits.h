// What a schedule compiler and the checker must know of a unit: no tensors, no shapes.
#pragma once

#include <vector>

#include "schedule/program.h"

namespace tessera {

struct UnitTraits {
  /// Has gradients that are reduced.
  bool trainable = true;
  /// False where the backward reads no weights (an embedding table), so that they need not be gathered for
  /// it.
  bool backward_uses_weights = true;
  /// Units whose weights this one computes with beside its own (tied embeddings: the head borrows from unit
  /// 0). Their gradients get a contribution from each of this unit's backwards.
  std::vector<int> borrows;
};

/// The units whose full weights `instruction` reads; empty for instructions that compute nothing.
std::vector<int> weights_used(const Instruction& instruction, const std::vector<UnitTraits>& units);

/// The trainable units whose gradients `instruction` adds to.
std::vector<int> gradients_added(const Instruction& instruction, const std::vector<UnitTraits>& units);

/// By instruction: the units that it is the last of the program to compute with their weights.
std::vector<std::vector<int>> last_weight_uses(const Program& program, const std::vector<UnitTraits>& units);

/// Does `op` compute on a micro-batch?
bool computes(Op op);

/// Throws Error(argument) unless every borrowed unit exists and is another one.
void validate(const std::vector<UnitTraits>& units);

}  // namespace tessera
