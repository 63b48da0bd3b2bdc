// Timelines of pipeline programs: bubbles of the papers, dependencies kept, deadlocks and bad costs named.
#include "schedule/timeline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <tuple>

#include "core/error.h"
#include "schedule/compile.h"
#include "schedule/stage_split.h"

namespace tessera {
namespace {

using S = PipelineSchedule;

constexpr S kAll[] = {S::gpipe,       S::one_f_one_b,   S::interleaved,
                      S::zero_bubble, S::zero_bubble_v, S::interleaved_zero_bubble,
                      S::dual_pipe_v};

struct Pipe {
  S schedule = S::one_f_one_b;
  int ranks = 4;
  int per_rank = 1;
  int microbatches = 8;
  bool recompute = false;
};

// A unit a stage, and a head that costs nothing beside the last.
std::vector<Program> programs_of(const Pipe& pipe) {
  const int stages = pipe.ranks * pipe.per_rank;
  StepOptions step;
  step.units.resize(stages + 1);
  step.microbatches = pipe.microbatches;
  step.recompute = pipe.recompute;
  step.storage.reshard.kind = ReshardPolicy::Kind::never;
  StageStarts starts;
  for (int stage = 0; stage < stages; ++stage) starts.push_back(stage);
  return compile_pipeline(
      step, make_pipeline_order(pipe.schedule, pipe.ranks, pipe.per_rank, pipe.microbatches), starts);
}

RelativeCosts even_costs(const Pipe& pipe) {
  RelativeCosts costs;
  costs.units.assign(pipe.ranks * pipe.per_rank, 1.0);
  costs.units.push_back(0);
  return costs;
}

Timeline timeline_of(const Pipe& pipe) {
  return make_timeline(programs_of(pipe), relative_cost(even_costs(pipe)));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::argument);
    return error.what();
  }
  return "no error";
}

TEST(Timeline, GPipeAnd1F1BHaveTheBubbleOfTheirPapers) {
  for (const int ranks : {1, 2, 4, 7}) {
    for (const int microbatches : {ranks, 3 * ranks}) {
      for (const S schedule : {S::gpipe, S::one_f_one_b}) {
        SCOPED_TRACE(cat(schedule_name(schedule), " pp=", ranks, " mb=", microbatches));
        const Timeline timeline = timeline_of({schedule, ranks, 1, microbatches});
        EXPECT_EQ(timeline.length, 3.0 * (microbatches + ranks - 1));
        const double bubble = (ranks - 1.0) / (microbatches + ranks - 1);
        EXPECT_NEAR(timeline.bubble(), bubble, 1e-12);
        for (int rank = 0; rank < ranks; ++rank) EXPECT_NEAR(timeline.bubble(rank), bubble, 1e-12);
      }
    }
  }
}

TEST(Timeline, InterleavingDividesTheBubbleByTheStagesOfARank) {
  for (const int per_rank : {2, 3}) {
    const Timeline timeline = timeline_of({S::interleaved, 4, per_rank, 8});
    EXPECT_EQ(timeline.length, 3.0 * per_rank * 8 + 3.0 * (4 - 1));
  }
}

TEST(Timeline, ZeroBubbleSchedulesAreShorterThanTheirElders) {
  for (const int ranks : {2, 4, 8}) {
    const int microbatches = 4 * ranks;
    EXPECT_EQ(timeline_of({S::zero_bubble, ranks, 1, microbatches}).length, 3.0 * microbatches + ranks - 1);
    // Two stages a rank, each half as long as one of 1f1b.
    EXPECT_EQ(timeline_of({S::zero_bubble_v, ranks, 2, microbatches}).length, 6.0 * microbatches + ranks - 1);
    const double plain = 2 * timeline_of({S::one_f_one_b, ranks, 1, microbatches}).length;
    EXPECT_LT(timeline_of({S::dual_pipe_v, ranks, 2, microbatches}).length, plain);
    EXPECT_LE(timeline_of({S::interleaved_zero_bubble, ranks, 2, microbatches}).length,
              timeline_of({S::interleaved, ranks, 2, microbatches}).length);
  }
}

// What must be over before an event starts, for events by kind, unit and micro-batch.
class Dependencies {
 public:
  Dependencies(const Timeline& timeline, int units) : head_(units - 1) {
    for (const TimelineEvent& event : timeline.events) {
      if (event.lane == Lane::compute && event.microbatch >= 0) {
        EXPECT_TRUE(done_.try_emplace({kind(event.phase), event.unit, event.microbatch}, event.end).second)
            << "twice: " << phase_name(event.phase) << " u" << event.unit << " mb" << event.microbatch;
      }
    }
  }

  void check(const TimelineEvent& event) const {
    const int unit = event.unit;
    switch (event.phase) {
      case Phase::forward:
        if (unit > 0) after(event, Phase::forward, unit - 1);
        return;
      case Phase::backward:
      case Phase::backward_input:
        after(event, Phase::forward, unit);
        if (unit < head_) after(event, Phase::backward, unit + 1);
        return;
      case Phase::backward_weight:
        after(event, Phase::backward, unit);
        return;
      default:
        return;
    }
  }

  size_t count() const { return done_.size(); }

 private:
  static Phase kind(Phase phase) { return phase == Phase::backward_input ? Phase::backward : phase; }

  void after(const TimelineEvent& event, Phase phase, int unit) const {
    const auto found = done_.find({phase, unit, event.microbatch});
    ASSERT_NE(found, done_.end());
    EXPECT_LE(found->second, event.start)
        << phase_name(event.phase) << " u" << event.unit << " mb" << event.microbatch;
  }

  int head_;
  std::map<std::tuple<Phase, int, int>, double> done_;
};

TEST(Timeline, EveryInstructionRunsOnceAfterWhatItNeeds) {
  std::mt19937 random(5);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int trial = 0; trial < 300; ++trial) {
    Pipe pipe;
    pipe.schedule = kAll[below(7)];
    pipe.ranks = 1 + below(5);
    const bool free = pipe.schedule == S::interleaved || pipe.schedule == S::interleaved_zero_bubble;
    pipe.per_rank = stages_per_rank(pipe.schedule, free ? 1 + below(3) : 0);
    pipe.microbatches = 1 + below(9) + (pipe.schedule == S::dual_pipe_v ? 2 * pipe.ranks : 0);
    pipe.recompute = below(2) == 1;
    SCOPED_TRACE(cat(schedule_name(pipe.schedule), " pp=", pipe.ranks, " v=", pipe.per_rank,
                     " mb=", pipe.microbatches));
    const std::vector<Program> programs = programs_of(pipe);
    RelativeCosts costs = even_costs(pipe);
    for (double& unit : costs.units) unit = 0.1 * (1 + below(30));
    costs.weight = 0.1 * below(20);
    costs.collective = 0.1 * below(10);
    costs.transfer = 0.1 * below(10);
    const Timeline timeline = make_timeline(programs, relative_cost(costs));

    const int units = pipe.ranks * pipe.per_rank + 1;
    const Dependencies dependencies(timeline, units);
    size_t computations = 0;
    for (const Program& program : programs) {
      for (const Instruction& now : program.instructions) {
        if (computes(now.op)) computations += now.op == Op::loss ? 2 : 1;
      }
    }
    EXPECT_EQ(dependencies.count(), computations);
    std::map<std::tuple<int, Lane, int>, double> lane_end;  // of transfers also by peer
    std::vector<double> computing(pipe.ranks, 0);
    for (const TimelineEvent& event : timeline.events) {
      dependencies.check(event);
      double& end = lane_end[{event.rank, event.lane, event.peer}];
      EXPECT_GE(event.start, end) << "a lane does one thing at a time";
      end = event.end;
      EXPECT_LE(event.end, timeline.length);
      if (event.lane == Lane::compute) computing[event.rank] += event.end - event.start;
    }
    for (int rank = 0; rank < pipe.ranks; ++rank) {
      const RankTime& time = timeline.ranks[rank];
      EXPECT_NEAR(time.computing, computing[rank], 1e-9);
      EXPECT_LE(time.computing + time.waiting_collectives + time.waiting_peers, timeline.length + 1e-9);
    }
    const Timeline sums = make_timeline(programs, relative_cost(costs), {.events = false});
    EXPECT_EQ(sums.length, timeline.length);
    EXPECT_TRUE(sums.events.empty());
  }
}

TEST(Timeline, CollectivesRunBesideComputingAndAreWaitedFor) {
  const Program program = parse_program(
      "program units=2 microbatches=1\n"
      "gather u0\nwait_gather u0\ngather u1\nforward u0 mb0\nwait_gather u1\nloss u1 mb0\nreduce u1\n"
      "backward u0 mb0\nreduce u0\nwait_reduce u1\nwait_reduce u0\ngrad_norm\noptimizer\n");
  RelativeCosts costs{{4, 1}, 1, 1, 2, 0};
  const Timeline timeline = make_timeline({program}, relative_cost(costs));
  // gather u0 0-8, forward 8-12 with gather u1 8-10 below it, loss 12-15, backward u0 15-23 with reduce u1
  // 15-17 below it, reduce u0 23-31.
  EXPECT_EQ(timeline.length, 31);
  EXPECT_EQ(timeline.ranks[0].computing, 15);
  EXPECT_EQ(timeline.ranks[0].waiting_collectives, 16);
  EXPECT_EQ(timeline.ranks[0].waiting_peers, 0);
  costs.collective = 0;
  EXPECT_EQ(make_timeline({program}, relative_cost(costs)).bubble(), 0);
}

TEST(Timeline, TransfersOfOneDirectionShareTheirLink) {
  const std::vector<Program> programs = {
      parse_program("program units=2 microbatches=2\nforward u0 mb0\nsend_forward u0 mb0 to 1\n"
                    "forward u0 mb1\nsend_forward u0 mb1 to 1\n"),
      parse_program("program units=2 microbatches=2\nrecv_forward u1 mb0 from 0\nrecv_forward u1 mb1 from 0\n"
                    "evaluate u1 mb0\nevaluate u1 mb1\n")};
  const Timeline timeline = make_timeline(programs, relative_cost({{1, 1}, 1, 1, 0, 5}));
  // Sent at 1 and 2, under way 1-6 and 6-11, evaluated 6-7 and 11-12.
  EXPECT_EQ(timeline.length, 12);
  EXPECT_EQ(timeline.ranks[1].waiting_peers, 10);
}

TEST(Timeline, ReceivesThatArePostedEarlyDoNotBlock) {
  const std::vector<Program> programs = {
      parse_program("program units=2 microbatches=2\nrecv_backward u0 mb0 from 1\nforward u0 mb0\n"
                    "send_forward u0 mb0 to 1\nbackward u0 mb0\n"),
      parse_program("program units=2 microbatches=2\nrecv_forward u1 mb0 from 0\nloss u1 mb0\n"
                    "send_backward u1 mb0 to 0\n")};
  EXPECT_EQ(make_timeline(programs, relative_cost({{1, 1}, 1, 1, 0, 0})).length, 6);
}

TEST(Timeline, WhatCannotEndIsNamed) {
  const auto walk = [](const std::vector<std::string>& texts) {
    return message_of([&] {
      std::vector<Program> programs;
      for (const std::string& text : texts)
        programs.push_back(parse_program("program units=2 microbatches=1\n" + text));
      make_timeline(programs, relative_cost({{1, 1}, 1, 1, 0, 0}));
    });
  };
  EXPECT_EQ(walk({"recv_forward u1 mb0 from 1\nforward u1 mb0\nsend_forward u1 mb0 to 1\n",
                  "recv_forward u0 mb0 from 0\nforward u0 mb0\nsend_forward u0 mb0 to 0\n"}),
            "programs deadlock: rank 0 waits in forward u1 mb0");
  EXPECT_EQ(walk({"forward u0 mb0\ngrad_norm\n", "forward u1 mb0\n"}),
            "programs deadlock: rank 0 waits in grad_norm");
  EXPECT_EQ(walk({"forward u0 mb0\nsend_forward u0 mb0 to 1\n", "\n"}),
            "rank 0 sends what rank 1 never receives: send_forward u0 mb0 to 1");
  EXPECT_EQ(walk({"\n", "recv_forward u1 mb0 from 0\n"}),
            "rank 1 receives what rank 0 never sends: recv_forward u1 mb0 from 0");
  EXPECT_EQ(walk({"send_forward u0 mb0 to 1\n", "recv_backward u1 mb0 from 0\n"}),
            "rank 1 does recv_backward u1 mb0 from 0 where the next transfer is send_forward u0 mb0 to 1 of "
            "rank 0");
  EXPECT_EQ(walk({"send_forward u0 mb0 to 0\n"}), "rank 0: send_forward u0 mb0 to 0: no such peer");
  EXPECT_EQ(walk({"grad_norm\ngrad_norm\n"}), "rank 0 has a second grad_norm");
  EXPECT_EQ(message_of([] { make_timeline({}, relative_cost({})); }),
            "a timeline needs at least one program");
}

TEST(Timeline, BadCostsAndTooManyEventsAreNamed) {
  const Pipe pipe;
  const std::vector<Program> programs = programs_of(pipe);
  const auto with = [&](const std::function<void(RelativeCosts&)>& change) {
    RelativeCosts costs = even_costs(pipe);
    change(costs);
    return message_of([&] { make_timeline(programs, relative_cost(costs)); });
  };
  EXPECT_EQ(with([](RelativeCosts&) {}), "no error");
  EXPECT_EQ(with([](RelativeCosts& costs) { costs.units.pop_back(); }), "unit=4 has no cost: there are 4");
  EXPECT_EQ(with([](RelativeCosts& costs) { costs.input = -1; }), "cost input=-1 must be between 0 and 1e9");
  EXPECT_NE(with([](RelativeCosts& costs) {
              costs.transfer = std::numeric_limits<double>::infinity();
            }).find("cost transfer=inf"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              make_timeline(programs, [](int, Phase, const Instruction&) { return std::nan(""); });
            }).find("is not between 0 and 1e15"),
            std::string::npos);
  EXPECT_EQ(
      message_of([&] { make_timeline(programs, relative_cost(even_costs(pipe)), {.most_events = 10}); }),
      "the timeline has more than 10 events: too many ranks, units or micro-batches");
}

}  // namespace
}  // namespace tessera
