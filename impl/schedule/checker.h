// Proves properties of programs before they run, without tensors: no use of weights that are not there, no
// gradient lost or reduced twice, no deadlock between ranks.
#pragma once

#include <vector>

#include "schedule/program.h"
#include "schedule/unit_traits.h"

namespace tessera {

struct CheckOptions {
  std::vector<UnitTraits> units;
  bool recompute = false;      ///< a forward saves its input only, so that backward needs a recompute first
  bool replicas = false;       ///< gradients must also be all-reduced over the replicas
  bool defer_reduce = true;    ///< exactly one reduction per unit
  int prefetch = 1;            ///< at most prefetch + 1 gathers under way
  bool keeps_weights = false;  ///< the program may end with gathered weights (generation)
};

/// What a program needs at its fullest moment.
struct CheckReport {
  int peak_gathered = 0;   ///< units with full weights, gathers under way included
  int peak_in_flight = 0;  ///< gathers under way
  int peak_saved = 0;      ///< (unit, micro-batch) pairs whose activations are alive in full
  int peak_inputs = 0;     ///< pairs of which only the input is kept, for a recompute
  int peak_gradients = 0;  ///< units with unsharded gradients
  int gathers = 0;
  int reductions = 0;
};

/// Throws Error(internal) naming the first instruction that breaks a rule:
/// every use of weights lies between wait_gather and release; every gather is waited for; a unit's forward
/// follows the one before it, its backward follows its forward, the backward after it, and its recompute,
/// while its activations are alive; every gradient that was added to is reduced once per round, no
/// contribution meets a running reduction; grad_norm sees all gradients complete; the optimizer comes last,
/// once, with no gathered weights left.
CheckReport check(const Program& program, const CheckOptions& options);

/// The receive that takes what `send` of pp rank `source` sends.
Instruction receive_of(const Instruction& send, int source);

/// Runs the programs of all pipeline coordinates against each other: every send meets its receive in order,
/// every rank ends. `synchronous` makes a send wait for its receive (a transport without buffers).
void check_transfers(const std::vector<Program>& programs, bool synchronous = false);

}  // namespace tessera
