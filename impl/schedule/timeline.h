// When each instruction of all pp ranks' programs would run: the walk that pictures of a schedule and
// estimates of a step's time are made of.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "schedule/program.h"

namespace tessera {

/// What runs beside what: a rank computes in one lane, its collectives run one after the other in the second,
/// and transfers between stages in the third, one after the other for each pair of ranks and direction.
enum class Lane : int { compute = 0, collectives = 1, transfers = 2 };

/// What an event does. `loss` of the head is two events: its forward, then its backward.
enum class Phase : int {
  forward = 0,
  backward = 1,  ///< gradients of inputs and weights
  backward_input = 2,
  backward_weight = 3,
  recompute = 4,
  gather = 5,
  reduce = 6,  ///< over the shards, or over the replicas
  transfer = 7,
  norm = 8,
  optimizer = 9,
};

/// "backward_input".
const char* phase_name(Phase phase);

struct TimelineEvent {
  int rank;  ///< pp coordinate; of a transfer the receiver
  Lane lane;
  Phase phase;
  Op op;
  int unit;        ///< -1: none
  int microbatch;  ///< -1: none
  int peer;        ///< of a transfer the sender, otherwise -1
  double start;
  double end;
};

/// Where one rank's time goes. What is left up to the length of the timeline is idle time at the end.
struct RankTime {
  double computing = 0;
  double waiting_collectives = 0;  ///< computing stands still because of gathers and reductions
  double waiting_peers = 0;        ///< and because of other stages
  double end = 0;                  ///< when its program ends
};

struct Timeline {
  double length = 0;                  ///< when the last rank ends
  std::vector<RankTime> ranks;        ///< by pp coordinate
  std::vector<TimelineEvent> events;  ///< by rank; within a lane of a rank in the order of time
  std::vector<int> stage_starts;      ///< first unit of each stage; may be empty. For pictures only

  /// The part of the step in which `rank` does not compute, 0 to 1.
  double bubble(int rank) const;
  /// The same over all ranks.
  double bubble() const;
};

/// How long `phase` of `instruction` takes on pp rank `rank`, in any measure. Must not be negative; called
/// once an event, from the thread that walks.
using TimelineCost = std::function<double(int rank, Phase phase, const Instruction& instruction)>;

/// A simple cost: phases in proportion to units.
struct RelativeCosts {
  std::vector<double> units;  ///< a forward of each unit on one micro-batch
  double input = 1;           ///< gradients of inputs, in forwards of the unit; a whole backward is
  double weight = 1;          ///< input + weight
  double collective = 0;      ///< gather or reduction of the unit's weights, in its forwards
  double transfer = 0;        ///< between stages, in the measure of `units`
};
/// Norm and optimizer take no time. Errors (argument): values that are negative or not finite.
TimelineCost relative_cost(RelativeCosts costs);

struct TimelineOptions {
  bool events = true;  ///< false: lengths and sums only, in little memory
  size_t most_events = 4'000'000;
  /// False: a rank moves data itself, so that its collectives stop its computing (rank threads on CPUs).
  bool overlap = true;
};

/// Walks the programs of all pp ranks against each other. A rank computes as soon as its order, the weights
/// it waits for and what its peers send allow. A transfer starts when both sides have come to it; sends are
/// never waited for. All ranks meet in grad_norm.
/// Errors (argument): no programs, costs that are negative or not finite, ranks that wait for each other for
/// ever, transfers that do not match, more events than allowed.
Timeline make_timeline(const std::vector<Program>& programs, const TimelineCost& cost,
                       const TimelineOptions& options = {});

}  // namespace tessera
