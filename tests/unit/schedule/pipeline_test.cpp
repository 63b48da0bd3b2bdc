// Pipeline schedules: valid for every size, with the bubbles and the memory that their papers give, and
// programs that the checker accepts.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>

#include "core/error.h"
#include "schedule/checker.h"
#include "schedule/compile.h"
#include "schedule/stage_split.h"

namespace tessera {
namespace {

using Kind = StageAction::Kind;
using S = PipelineSchedule;

constexpr S kAll[] = {S::gpipe,       S::one_f_one_b,   S::interleaved,
                      S::zero_bubble, S::zero_bubble_v, S::interleaved_zero_bubble,
                      S::dual_pipe_v};

struct Times {
  int forward = 1;
  int input = 1;
  int weight = 1;
};

// When the last rank ends, if transfers take no time and every rank works as early as its order allows.
int makespan(const PipelineOrder& order, const Times& times) {
  std::map<std::tuple<bool, int, int>, int> done;
  std::vector<size_t> next(order.ranks.size(), 0);
  std::vector<int> clock(order.ranks.size(), 0);
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t rank = 0; rank < next.size(); ++rank) {
      while (next[rank] < order.ranks[rank].size()) {
        const StageAction& action = order.ranks[rank][next[rank]];
        const bool forward = action.kind == Kind::forward;
        int start = clock[rank];
        const bool first = forward ? action.stage == 0 : action.stage == order.stages() - 1;
        if (action.kind != Kind::backward_weight) {
          const std::tuple key{first ? true : forward,
                               first ? action.stage : action.stage + (forward ? -1 : 1), action.microbatch};
          if (!(forward && first)) {
            const auto found = done.find(key);
            if (found == done.end()) break;
            start = std::max(start, found->second);
          }
        }
        int time = times.forward;
        if (action.kind == Kind::backward) time = times.input + times.weight;
        if (action.kind == Kind::backward_input) time = times.input;
        if (action.kind == Kind::backward_weight) time = times.weight;
        clock[rank] = start + time;
        if (action.kind != Kind::backward_weight) {
          done[{forward, action.stage, action.microbatch}] = clock[rank];
        }
        ++next[rank];
        moved = true;
      }
    }
  }
  for (size_t rank = 0; rank < next.size(); ++rank)
    EXPECT_EQ(next[rank], order.ranks[rank].size()) << "stuck";
  return *std::max_element(clock.begin(), clock.end());
}

// The most stage activations alive on a rank.
int peak_alive(const std::vector<StageAction>& actions) {
  int alive = 0;
  int peak = 0;
  for (const StageAction& action : actions) {
    if (action.kind == Kind::forward) peak = std::max(peak, ++alive);
    if (action.kind == Kind::backward || action.kind == Kind::backward_weight) --alive;
  }
  return peak;
}

StepOptions step_of(int units, int microbatches) {
  StepOptions step;
  step.units.resize(units);
  step.microbatches = microbatches;
  return step;
}

StageStarts even_starts(int units, int stages) {
  return balanced_stages(std::vector<double>(units, 1.0), stages);
}

TEST(Pipeline, EverySizeOfEveryScheduleIsWholeAndPassesTheChecker) {
  std::mt19937 random(3);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int trial = 0; trial < 1500; ++trial) {
    const S schedule = kAll[below(7)];
    const int ranks = 1 + below(6);
    const bool free = schedule == S::interleaved || schedule == S::interleaved_zero_bubble;
    const int per_rank = stages_per_rank(schedule, free ? 1 + below(3) : 0);
    const int microbatches = 1 + below(12) + (schedule == S::dual_pipe_v ? 2 * ranks : 0);
    SCOPED_TRACE(cat(schedule_name(schedule), " pp=", ranks, " v=", per_rank, " mb=", microbatches));
    const PipelineOrder order = make_pipeline_order(schedule, ranks, per_rank, microbatches);
    ASSERT_NO_THROW(validate(order, ranks, microbatches));
    StepOptions step = step_of(ranks * per_rank + below(5), microbatches);
    step.recompute = below(2) == 1;
    step.storage.reshard.kind = below(2) == 1 ? ReshardPolicy::Kind::always : ReshardPolicy::Kind::never;
    step.storage.defer_reduce = below(2) == 1;
    step.storage.replicas = below(2) == 1;
    std::vector<Program> programs;
    ASSERT_NO_THROW(programs = compile_pipeline(
                        step, order, even_starts(static_cast<int>(step.units.size()), ranks * per_rank)));
    CheckOptions rules;
    rules.units = step.units;
    rules.recompute = step.recompute;
    rules.replicas = step.storage.replicas;
    rules.defer_reduce = step.storage.defer_reduce;
    for (const Program& program : programs) ASSERT_NO_THROW(check(program, rules)) << to_text(program);
    ASSERT_NO_THROW(check_transfers(programs));
  }
}

TEST(Pipeline, GPipeAnd1F1BHaveTheSameBubbleAnd1F1BLessMemory) {
  for (const int ranks : {1, 2, 4, 7}) {
    const int microbatches = 3 * ranks;
    for (const S schedule : {S::gpipe, S::one_f_one_b}) {
      const PipelineOrder order = make_pipeline_order(schedule, ranks, 1, microbatches);
      EXPECT_EQ(makespan(order, {}), 3 * (microbatches + ranks - 1)) << schedule_name(schedule);
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(peak_alive(order.ranks[rank]), schedule == S::gpipe ? microbatches : ranks - rank);
      }
    }
  }
}

TEST(Pipeline, InterleavingDividesTheBubbleByTheStagesOfARank) {
  for (const int ranks : {2, 4}) {
    for (const int per_rank : {2, 3}) {
      const int microbatches = 2 * ranks;
      const PipelineOrder order = make_pipeline_order(S::interleaved, ranks, per_rank, microbatches);
      // A stage is 1 / per_rank of what a rank holds: work 3 per_rank n, bubble 3 (p - 1) instead of 3
      // per_rank (p - 1).
      EXPECT_EQ(makespan(order, {}), 3 * per_rank * microbatches + 3 * (ranks - 1));
    }
  }
}

TEST(Pipeline, ZeroBubbleH1HasTheBubbleOfItsPaperInTheMemoryOf1F1B) {
  for (const int ranks : {2, 4, 8}) {
    const int microbatches = 2 * ranks;
    const PipelineOrder order = make_pipeline_order(S::zero_bubble, ranks, 1, microbatches);
    // (p - 1) (F + B - W) with F = B = W = 1.
    EXPECT_EQ(makespan(order, {}), 3 * microbatches + ranks - 1);
    for (const auto& actions : order.ranks) EXPECT_LE(peak_alive(actions), ranks);
  }
}

TEST(Pipeline, TheVSchedulesHaveAlmostNoBubble) {
  for (const int ranks : {2, 4, 8}) {
    const int microbatches = 4 * ranks;
    const int work = 6 * microbatches;
    const PipelineOrder v = make_pipeline_order(S::zero_bubble_v, ranks, 2, microbatches);
    EXPECT_EQ(makespan(v, {}), work + ranks - 1);
    for (const auto& actions : v.ranks) EXPECT_LE(peak_alive(actions), 2 * ranks);
    const PipelineOrder dual = make_pipeline_order(S::dual_pipe_v, ranks, 2, microbatches);
    const PipelineOrder plain = make_pipeline_order(S::one_f_one_b, ranks, 1, microbatches);
    // The two stages of a rank are one stage of 1F1B.
    EXPECT_LT(makespan(dual, {}), makespan(plain, {2, 2, 2}));
    for (const auto& actions : dual.ranks) EXPECT_LE(peak_alive(actions), 2 * ranks + 1);
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Pipeline, OrdersGoToTextAndBack) {
  for (const S schedule : kAll) {
    const PipelineOrder order = make_pipeline_order(schedule, 3, stages_per_rank(schedule, 0), 7);
    const PipelineOrder again = parse_pipeline_order("# a comment\n\n" + to_text(order));
    EXPECT_EQ(again.ranks, order.ranks);
    EXPECT_EQ(again.rank_of_stage, order.rank_of_stage);
  }
}

TEST(Pipeline, BadOrdersAreNamed) {
  const auto parse = [](const std::string& text) {
    return message_of([&] { validate(parse_pipeline_order(text), 2, 1); });
  };
  EXPECT_EQ(parse("0F0,0B0\n1F0,1B0\n"), "no error");
  EXPECT_EQ(parse("0F0,,0B0\n1F0,1I0,1W0\n"), "no error");
  EXPECT_EQ(parse("0F0,0X0\n"), "pipeline program line 1: \"0X0\" is no action such as 3F0");
  EXPECT_EQ(parse("0F99999999999\n"), "pipeline program line 1: \"0F99999999999\" is no action such as 3F0");
  EXPECT_EQ(parse("0F0,0B0\n0F0,0B0\n"), "pipeline program line 2: stage 0 is already rank 0's");
  EXPECT_EQ(parse("0F0,0B0\n2F0,2B0\n"), "pipeline program: stage 1 is missing, stage 2 is there");
  EXPECT_EQ(parse("0F0,0B0\n"), "the pipeline program has 1 ranks, the mesh pp=2");
  EXPECT_EQ(parse("0F0,0B0\n1F0\n"), "pipeline rank 1: stage 1 does not finish micro-batch 0");
  EXPECT_EQ(parse("0F0,0B0\n1B0,1F0\n"), "pipeline rank 1: 1B0 comes before its forward");
  EXPECT_EQ(parse("0F0,0B0\n1F0,1F1,1B0\n"), "pipeline rank 1: 1F1 is past the last of 1 micro-batches");
  EXPECT_EQ(message_of([] {
              compile_pipeline(step_of(2, 2), parse_pipeline_order("0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0\n"),
                               {0, 1});
            }),
            "the pipeline program deadlocks: rank 0 waits before stage 0, micro-batch 0");
}

TEST(Pipeline, ImpossibleSizesAreNamed) {
  EXPECT_EQ(message_of([] { stages_per_rank(S::one_f_one_b, 2); }), "pp_virtual=2: 1f1b has 1 stage a rank");
  EXPECT_EQ(message_of([] { stages_per_rank(S::zero_bubble_v, 3); }),
            "pp_virtual=3: zb_v has 2 stages a rank");
  EXPECT_EQ(message_of([] { make_pipeline_order(S::dual_pipe_v, 2, 2, 3); }),
            "dualpipe_v over pp=2 needs at least 4 micro-batches, not 3");
  EXPECT_EQ(
      message_of([] { parse_pipeline_schedule("2f2b"); }),
      "pp_schedule=\"2f2b\" is unknown: gpipe, 1f1b, interleaved, zb_h1, interleaved_zb, zb_v, dualpipe_v, "
      "custom are known");
}

TEST(StageSplit, TheLargestStageIsAsSmallAsCanBe) {
  EXPECT_EQ(balanced_stages({0, 1, 1, 1, 1, 2}, 3), (StageStarts{0, 3, 5}));
  EXPECT_EQ(balanced_stages({1, 1, 1}, 3), (StageStarts{0, 1, 2}));
  EXPECT_EQ(balanced_stages({1, 1, 1}, 1), (StageStarts{0}));
  std::mt19937 random(5);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> costs(1 + random() % 9);
    for (double& cost : costs) cost = static_cast<double>(random() % 7);
    const int stages = 1 + static_cast<int>(random() % costs.size());
    const auto largest = [&](const StageStarts& starts) {
      double worst = 0;
      for (size_t s = 0; s < starts.size(); ++s) {
        const size_t end = s + 1 < starts.size() ? starts[s + 1] : costs.size();
        double sum = 0;
        for (size_t u = starts[s]; u < end; ++u) sum += costs[u];
        worst = std::max(worst, sum);
      }
      return worst;
    };
    // Every choice of stage borders.
    double best = 1e9;
    for (unsigned mask = 0; mask < (1U << (costs.size() - 1)); ++mask) {
      StageStarts starts = {0};
      for (size_t u = 1; u < costs.size(); ++u) {
        if (mask >> (u - 1) & 1) starts.push_back(static_cast<int>(u));
      }
      if (static_cast<int>(starts.size()) == stages) best = std::min(best, largest(starts));
    }
    const StageStarts starts = balanced_stages(costs, stages);
    ASSERT_EQ(starts.size(), static_cast<size_t>(stages));
    EXPECT_NEAR(largest(starts), best, 1e-6);
  }
}

TEST(StageSplit, ListsOfLayersAreChecked) {
  EXPECT_EQ(stages_from_layers({2, 1}, 3, 2), (StageStarts{0, 3}));
  EXPECT_EQ(stages_from_layers({0, 3, 0}, 3, 3), (StageStarts{0, 1, 4}));
  EXPECT_EQ(message_of([] { stages_from_layers({2, 2}, 3, 2); }),
            "pp_split: stage 1 has 2 layers, 1 are left");
  EXPECT_EQ(message_of([] { stages_from_layers({2, 0}, 3, 2); }),
            "pp_split adds up to 2 layers, the model has 3");
  EXPECT_EQ(message_of([] { stages_from_layers({1, 0, 2}, 3, 3); }), "pp_split: stage 1 has no layers");
  EXPECT_EQ(message_of([] { stages_from_layers({3}, 3, 2); }), "pp_split names 1 stages, there are 2");
  EXPECT_EQ(message_of([] { balanced_stages({1, 1}, 3); }),
            "3 pipeline stages for 2 units (embedding, layers, head)");
}

}  // namespace
}  // namespace tessera
