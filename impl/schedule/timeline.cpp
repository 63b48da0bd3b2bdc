// The walk over programs: a clock for each rank's computing and for its collectives, queues between ranks.
#include "schedule/timeline.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "schedule/checker.h"

namespace tessera {
namespace {

class Walk {
 public:
  Walk(const std::vector<Program>& programs, const TimelineCost& cost, const TimelineOptions& options)
      : programs_(programs), cost_(cost), options_(options), ranks_(programs.size()) {
    TESSERA_CHECK(!programs.empty(), argument, "a timeline needs at least one program");
  }

  Timeline run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < size(); ++rank) {
        while (!done(rank) && step(rank, current(rank))) {
          ++ranks_[rank].next;
          moved = true;
        }
      }
    }
    check_finished();
    Timeline timeline;
    timeline.events.reserve(events_);
    for (Rank& rank : ranks_) {
      rank.time.end = std::max({rank.clock, rank.collectives, rank.transfers});
      timeline.length = std::max(timeline.length, rank.time.end);
      timeline.ranks.push_back(rank.time);
      timeline.events.insert(timeline.events.end(), rank.events.begin(), rank.events.end());
    }
    return timeline;
  }

 private:
  using Arrival = std::tuple<Op, int, int>;  // receive, unit, micro-batch

  struct Rank {
    size_t next = 0;
    double clock = 0;        // when computing is free
    double collectives = 0;  // when the collectives' lane is free
    double transfers = 0;    // when the last receive ends
    bool in_norm = false;    // has come to grad_norm
    bool met = false;        // and left it
    RankTime time;
    std::map<std::pair<Phase, int>, double> finished;  // collectives by phase and unit
    std::map<Arrival, double> arriving;                // of receives: when, or kUnknown
    std::vector<TimelineEvent> events;
  };

  // What two ranks have said about their next transfers in one direction, and when.
  struct Channel {
    std::deque<std::pair<Instruction, double>> sends;
    std::deque<std::pair<Instruction, double>> receives;
    double free = 0;
  };

  static constexpr double kUnknown = -1;

  int size() const { return static_cast<int>(ranks_.size()); }
  bool done(int rank) const { return ranks_[rank].next == programs_[rank].instructions.size(); }
  const Instruction& current(int rank) const { return programs_[rank].instructions[ranks_[rank].next]; }

  void check_finished() const {
    for (int rank = 0; rank < size(); ++rank) {
      TESSERA_CHECK(done(rank), argument, "programs deadlock: rank ", rank, " waits in ",
                    to_text(current(rank)));
    }
    for (const auto& [ends, channel] : channels_) {
      TESSERA_CHECK(channel.sends.empty(), argument, "rank ", ends.first, " sends what rank ", ends.second,
                    " never receives: ", to_text(channel.sends.front().first));
      TESSERA_CHECK(channel.receives.empty(), argument, "rank ", ends.second, " receives what rank ",
                    ends.first, " never sends: ", to_text(channel.receives.front().first));
    }
  }

  double cost(int rank, Phase phase, const Instruction& now) const {
    const double value = cost_(rank, phase, now);
    TESSERA_CHECK(std::isfinite(value) && value >= 0 && value <= 1e15, argument, "rank ", rank, ": ",
                  to_text(now), ": cost ", value, " is not between 0 and 1e15");
    return value;
  }

  void add(int rank, Lane lane, Phase phase, const Instruction& now, double start, double end) {
    if (!options_.events) return;
    TESSERA_CHECK(++events_ <= options_.most_events, argument, "the timeline has more than ",
                  options_.most_events, " events: too many ranks, units or micro-batches");
    const int peer = lane == Lane::transfers ? now.peer : -1;
    ranks_[rank].events.push_back({rank, lane, phase, now.op, now.unit, now.microbatch, peer, start, end});
  }

  void compute(int rank, Phase phase, const Instruction& now) {
    Rank& self = ranks_[rank];
    const double start = self.clock;
    self.clock += cost(rank, phase, now);
    self.time.computing += self.clock - start;
    add(rank, Lane::compute, phase, now, start, self.clock);
  }

  // A computation that reads what `receive`, if the program has one, brings. False: a peer has to move first.
  bool compute_on_arrival(int rank, Op receive, Phase phase, const Instruction& now) {
    Rank& self = ranks_[rank];
    const auto found = self.arriving.find({receive, now.unit, now.microbatch});
    if (found != self.arriving.end()) {
      if (found->second == kUnknown) return false;
      self.time.waiting_peers += std::max(0.0, found->second - self.clock);
      self.clock = std::max(self.clock, found->second);
      self.arriving.erase(found);
    }
    compute(rank, phase, now);
    return true;
  }

  void collective(int rank, Phase phase, const Instruction& now) {
    Rank& self = ranks_[rank];
    const double start = std::max(self.clock, self.collectives);
    self.collectives = start + cost(rank, phase, now);
    self.finished[{phase, now.unit}] = self.collectives;
    if (!options_.overlap) {
      self.time.waiting_collectives += self.collectives - self.clock;
      self.clock = self.collectives;
    }
    add(rank, Lane::collectives, phase, now, start, self.collectives);
  }

  void wait_collective(int rank, Phase phase, int unit) {
    Rank& self = ranks_[rank];
    const auto found = self.finished.find({phase, unit});
    if (found == self.finished.end()) return;
    self.time.waiting_collectives += std::max(0.0, found->second - self.clock);
    self.clock = std::max(self.clock, found->second);
  }

  void check_peer(int rank, const Instruction& now) const {
    TESSERA_CHECK(now.peer >= 0 && now.peer < size() && now.peer != rank, argument, "rank ", rank, ": ",
                  to_text(now), ": no such peer");
  }

  void send(int rank, const Instruction& now) {
    check_peer(rank, now);
    channels_[{rank, now.peer}].sends.push_back({now, ranks_[rank].clock});
    match(rank, now.peer);
  }

  void receive(int rank, const Instruction& now) {
    check_peer(rank, now);
    channels_[{now.peer, rank}].receives.push_back({now, ranks_[rank].clock});
    ranks_[rank].arriving[{now.op, now.unit, now.microbatch}] = kUnknown;
    match(now.peer, rank);
  }

  void match(int source, int destination) {
    Channel& channel = channels_[{source, destination}];
    if (channel.sends.empty() || channel.receives.empty()) return;
    const auto [send, sent] = channel.sends.front();
    const auto [receive, posted] = channel.receives.front();
    TESSERA_CHECK(receive_of(send, source) == receive, argument, "rank ", destination, " does ",
                  to_text(receive), " where the next transfer is ", to_text(send), " of rank ", source);
    channel.sends.pop_front();
    channel.receives.pop_front();
    const double start = std::max({sent, posted, channel.free});
    channel.free = start + cost(destination, Phase::transfer, receive);
    Rank& self = ranks_[destination];
    self.arriving[{receive.op, receive.unit, receive.microbatch}] = channel.free;
    self.transfers = std::max(self.transfers, channel.free);
    add(destination, Lane::transfers, Phase::transfer, receive, start, channel.free);
  }

  // All ranks come together. The last to come lets the others go on.
  bool meet(int rank, const Instruction& now) {
    Rank& self = ranks_[rank];
    TESSERA_CHECK(!self.met, argument, "rank ", rank, " has a second grad_norm");
    if (!self.in_norm) {
      self.in_norm = true;
      ++meeting_;
      meeting_time_ = std::max(meeting_time_, self.clock);
    }
    if (meeting_ < size()) return false;
    self.met = true;
    self.time.waiting_peers += meeting_time_ - self.clock;
    self.clock = meeting_time_;
    const double start = self.clock;
    self.clock += cost(rank, Phase::norm, now);
    add(rank, Lane::compute, Phase::norm, now, start, self.clock);
    return true;
  }

  // Runs one instruction, or says that a peer has to move first.
  bool step(int rank, const Instruction& now) {
    switch (now.op) {
      case Op::gather:
        collective(rank, Phase::gather, now);
        return true;
      case Op::wait_gather:
        wait_collective(rank, Phase::gather, now.unit);
        return true;
      case Op::reduce:
      case Op::reduce_replicas:
        collective(rank, Phase::reduce, now);
        return true;
      case Op::wait_reduce:
      case Op::wait_replicas:
        wait_collective(rank, Phase::reduce, now.unit);
        return true;
      case Op::send_forward:
      case Op::send_backward:
        send(rank, now);
        return true;
      case Op::recv_forward:
      case Op::recv_backward:
        receive(rank, now);
        return true;
      case Op::forward:
      case Op::evaluate:
      case Op::logits:
        return compute_on_arrival(rank, Op::recv_forward, Phase::forward, now);
      case Op::recompute:
        compute(rank, Phase::recompute, now);
        return true;
      case Op::loss:
        if (!compute_on_arrival(rank, Op::recv_forward, Phase::forward, now)) return false;
        compute(rank, Phase::backward, now);
        return true;
      case Op::backward:
        return compute_on_arrival(rank, Op::recv_backward, Phase::backward, now);
      case Op::backward_input:
        return compute_on_arrival(rank, Op::recv_backward, Phase::backward_input, now);
      case Op::backward_weight:
        compute(rank, Phase::backward_weight, now);
        return true;
      case Op::grad_norm:
        return meet(rank, now);
      case Op::optimizer:
        compute(rank, Phase::optimizer, now);
        return true;
      case Op::release:
      case Op::reshard:
      case Op::offload_shard:
      case Op::fetch_shard:
        return true;  // nothing of the device's time
    }
    return true;
  }

  const std::vector<Program>& programs_;
  const TimelineCost& cost_;
  const TimelineOptions& options_;
  std::vector<Rank> ranks_;
  std::map<std::pair<int, int>, Channel> channels_;  // by source and destination
  int meeting_ = 0;                                  // ranks that are in grad_norm
  double meeting_time_ = 0;
  size_t events_ = 0;
};

void check_factor(const char* name, double value) {
  TESSERA_CHECK(std::isfinite(value) && value >= 0 && value <= 1e9, argument, "cost ", name, "=", value,
                " must be between 0 and 1e9");
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::forward:
      return "forward";
    case Phase::backward:
      return "backward";
    case Phase::backward_input:
      return "backward_input";
    case Phase::backward_weight:
      return "backward_weight";
    case Phase::recompute:
      return "recompute";
    case Phase::gather:
      return "gather";
    case Phase::reduce:
      return "reduce";
    case Phase::transfer:
      return "transfer";
    case Phase::norm:
      return "norm";
    case Phase::optimizer:
      return "optimizer";
  }
  return "unknown";
}

double Timeline::bubble(int rank) const {
  TESSERA_CHECK(rank >= 0 && static_cast<size_t>(rank) < ranks.size(), argument, "rank=", rank,
                " is not in the timeline of ", ranks.size());
  return length > 0 ? std::max(0.0, 1 - ranks[rank].computing / length) : 0;
}

double Timeline::bubble() const {
  double sum = 0;
  for (size_t rank = 0; rank < ranks.size(); ++rank) sum += bubble(static_cast<int>(rank));
  return ranks.empty() ? 0 : sum / static_cast<double>(ranks.size());
}

TimelineCost relative_cost(RelativeCosts costs) {
  for (const double unit : costs.units) check_factor("of a unit", unit);
  check_factor("input", costs.input);
  check_factor("weight", costs.weight);
  check_factor("collective", costs.collective);
  check_factor("transfer", costs.transfer);
  return [costs = std::move(costs)](int, Phase phase, const Instruction& now) -> double {
    if (phase == Phase::norm || phase == Phase::optimizer) return 0;
    if (phase == Phase::transfer) return costs.transfer;
    TESSERA_CHECK(now.unit >= 0 && static_cast<size_t>(now.unit) < costs.units.size(), argument,
                  "unit=", now.unit, " has no cost: there are ", costs.units.size());
    const double unit = costs.units[now.unit];
    switch (phase) {
      case Phase::backward:
        return unit * (costs.input + costs.weight);
      case Phase::backward_input:
        return unit * costs.input;
      case Phase::backward_weight:
        return unit * costs.weight;
      case Phase::gather:
      case Phase::reduce:
        return unit * costs.collective;
      default:
        return unit;
    }
  };
}

Timeline make_timeline(const std::vector<Program>& programs, const TimelineCost& cost,
                       const TimelineOptions& options) {
  return Walk(programs, cost, options).run();
}

}  // namespace tessera
