// Experts spread over any mesh train as on one rank: ep of 1, 2, 4 and 8 with every other axis, both ways of
// travelling, whole and cut experts, and routers that send everything to one expert.
#include <gtest/gtest.h>

#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <tuple>

#include "core/error.h"
#include "mesh/expert_layout.h"
#include "support/single_rank.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

constexpr int64_t kExperts = 8;

/// Layers: dense, experts with a shared one, experts, experts.
ModelConfig moe_config() {
  ModelConfig config = tiny_config(/*tied=*/true);
  config.num_layers = 4;
  config.sliding_window.assign(4, 0);
  config.num_heads = 8;
  config.moe.experts = kExperts;
  config.moe.intermediate_size = 16;
  config.moe.shared_intermediate_size = 24;
  config.moe.layers = {false, true, true, true};
  config.moe.routing.top_k = 2;
  config.moe.routing.normalize = true;
  return config;
}

TrainingRun base_run() {
  return sgd_run(moe_config(), {1, 1, 1, 1, 1, 1});
}

std::string describe(const TrainingRun& run) {
  return cat("pp=", run.mesh.pp, " dp_replicate=", run.mesh.dp_replicate, " dp_shard=", run.mesh.dp_shard,
             " cp=", run.mesh.cp, " tp=", run.mesh.tp, " ep=", run.mesh.ep,
             " expert_tp=", run.options.experts.split_width, " ", run.options.experts.exchange,
             " sequence_parallel=", run.options.sequence_parallel, " microbatches=", run.microbatches,
             " schedule=", schedule_name(run.options.pipeline.schedule));
}

std::vector<MeshSpec> meshes(int ranks) {
  std::vector<MeshSpec> list;
  for (int pp = 1; pp <= std::min(ranks, 4); pp *= 2) {  // 8 stages are more than the model has units
    for (int replicate = 1; pp * replicate <= ranks; replicate *= 2) {
      for (int shard = 1; pp * replicate * shard <= ranks; shard *= 2) {
        for (int cp = 1; pp * replicate * shard * cp <= ranks; cp *= 2) {
          for (int ep = 1; ep <= ranks / pp; ep *= 2) {
            list.push_back({pp, replicate, shard, cp, ranks / (pp * replicate * shard * cp), ep});
          }
        }
      }
    }
  }
  return list;
}

/// Every combination of the switches that `mesh` allows.
std::vector<TrainingRun> variants(const MeshSpec& mesh) {
  std::vector<TrainingRun> runs;
  const int64_t outside_tp = mesh.dp_replicate * mesh.dp_shard * mesh.cp;
  for (const char* exchange : {"all_to_all", "all_gather"}) {
    for (const bool split : {false, true}) {
      for (const bool sequence : {false, true}) {
        for (const int microbatches : {1, 3}) {
          if (mesh.ep == 1 && exchange == std::string("all_gather")) continue;
          if (mesh.tp == 1 && (split || sequence)) continue;
          if (split && outside_tp % mesh.ep != 0) continue;
          TrainingRun run = base_run();
          run.mesh = mesh;
          run.ranks = static_cast<int>(mesh.pp * outside_tp * mesh.tp);
          run.microbatches = mesh.pp > 1 ? 8 * microbatches : microbatches;
          run.options.sequence_parallel = sequence;
          run.options.experts.split_width = split;
          run.options.experts.exchange = exchange;
          if (microbatches == 3) run.options.recompute = Recompute::full;
          if (mesh.pp > 1 && sequence) run.options.pipeline.schedule = PipelineSchedule::zero_bubble;
          runs.push_back(std::move(run));
        }
      }
    }
  }
  return runs;
}

bool full() {
  const char* wanted = std::getenv("TESSERA_TEST_FULL");
  return wanted != nullptr && std::string(wanted) == "1";
}

/// What a run differs in from others.
std::vector<int64_t> choices(const TrainingRun& run) {
  return {run.mesh.pp,
          run.mesh.dp_replicate,
          run.mesh.dp_shard,
          run.mesh.cp,
          run.mesh.tp,
          run.mesh.ep,
          run.options.experts.split_width,
          run.options.experts.exchange == "all_gather",
          run.options.sequence_parallel,
          run.microbatches % 3 == 0};
}

/// So many of `all` that any two choices that occur together in one of them do so in one that is kept.
std::vector<TrainingRun> covering_by_pairs(const std::vector<TrainingRun>& all) {
  using Pair = std::tuple<size_t, int64_t, size_t, int64_t>;
  std::vector<std::set<Pair>> pairs;
  for (const TrainingRun& run : all) {
    const std::vector<int64_t> values = choices(run);
    std::set<Pair>& own = pairs.emplace_back();
    for (size_t i = 0; i < values.size(); ++i) {
      for (size_t j = 0; j < i; ++j) own.insert({i, values[i], j, values[j]});
    }
  }
  std::vector<TrainingRun> kept;
  for (;;) {  // always the run with the most pairs that no kept one has
    const auto best = std::max_element(pairs.begin(), pairs.end(),
                                       [](const auto& a, const auto& b) { return a.size() < b.size(); });
    if (best->empty()) return kept;
    const std::set<Pair> covered = *best;
    kept.push_back(all[static_cast<size_t>(best - pairs.begin())]);
    for (std::set<Pair>& open : pairs) {
      for (const Pair& pair : covered) open.erase(pair);
    }
  }
}

/// All variants of all meshes, or as many as have every two choices together.
void sweep(int ranks) {
  const TrainingOutcome one_rank = train(base_run());
  std::vector<TrainingRun> runs;
  for (const MeshSpec& mesh : meshes(ranks)) {
    for (TrainingRun& run : variants(mesh)) runs.push_back(std::move(run));
  }
  const size_t all = runs.size();
  if (!full()) runs = covering_by_pairs(runs);
  int passed = 0;
  for (const TrainingRun& run : runs) {
    SCOPED_TRACE(describe(run));
    passed += expect_outcome(run, one_rank) ? 1 : 0;
  }
  std::printf("%d of %zu combinations with experts (%zu exist) give the one-rank result\n", passed,
              runs.size(), all);
  EXPECT_EQ(passed, std::ssize(runs));
}

TEST(ExpertParallel, TwoRanksTrainAsOne) {
  sweep(2);
}

TEST(ExpertParallel, FourRanksTrainAsOne) {
  sweep(4);
}

TEST(ExpertParallel, EightRanksTrainAsOne) {
  sweep(8);
}

/// A bias decides the choice alone: every token goes to `first` and the one after it.
TrainingRun driven_run(int64_t first, int64_t top_k) {
  TrainingRun run = base_run();
  run.config.moe.routing.scoring = kernels::RoutingOptions::Scoring::sigmoid;
  run.config.moe.routing.top_k = top_k;
  run.config.moe.selection_bias_name = "gate.e_score_correction_bias";
  const at::Tensor bias = at::zeros({kExperts}, at::kFloat);
  bias.narrow(0, first, top_k).fill_(10);
  for (int layer = 1; layer < 4; ++layer) {
    run.set[cat("model.layers.", layer, ".mlp.gate.e_score_correction_bias")] = bias;
  }
  return run;
}

TEST(ExpertParallel, ARouterThatSendsEverythingToOneExpertTrainsAsOnOneRank) {
  int turn = 0;
  for (const auto& [first, top_k] : {std::pair<int64_t, int64_t>{0, 1}, {7, 1}, {3, 2}}) {
    const TrainingOutcome one_rank = train(driven_run(first, top_k));
    const at::Tensor unused = one_rank.gradients.at("model.layers.2.mlp.experts.5.up_proj.weight");
    EXPECT_TRUE(at::equal(unused, at::zeros_like(unused)));
    for (const MeshSpec& mesh : std::vector<MeshSpec>{{1, 1, 8, 1, 1, 8},
                                                      {1, 1, 4, 1, 2, 4},
                                                      {2, 1, 2, 1, 2, 2},
                                                      {1, 2, 2, 2, 1, 4},
                                                      {1, 1, 1, 1, 8, 8}}) {
      const std::string skipped = ++turn % 2 == 0 ? "all_to_all" : "all_gather";
      for (const std::string exchange : {"all_to_all", "all_gather"}) {
        if (!full() && exchange == skipped) continue;
        TrainingRun run = driven_run(first, top_k);
        run.mesh = mesh;
        run.ranks = 8;
        run.microbatches = 8;  // some of a rank's are empty
        run.options.experts.exchange = exchange;
        SCOPED_TRACE(describe(run));
        expect_outcome(run, one_rank);
      }
    }
  }
}

TEST(ExpertParallel, BalanceAndZLossesAreTheSameOnEveryMesh) {
  const auto with_losses = [](TrainingRun run) {
    run.options.experts.balance_loss = 0.05;
    run.options.experts.z_loss = 0.01;
    return run;
  };
  // The losses are those of micro-batches, which are the same here on every mesh.
  const auto dealt = [&](int microbatches) {
    TrainingRun run = with_losses(base_run());
    run.microbatches = microbatches;
    return run;
  };
  const TrainingOutcome four = train(dealt(4));
  const TrainingOutcome plain = train(base_run());
  const char* gate = "model.layers.3.mlp.gate.weight";
  EXPECT_GT(relative_error(four.gradients.at(gate), plain.gradients.at(gate)), 1e-3);
  for (const auto& [mesh, microbatches] : std::vector<std::pair<MeshSpec, int>>{{{1, 1, 4, 1, 1, 4}, 1},
                                                                                {{1, 1, 2, 1, 2, 2}, 2},
                                                                                {{1, 1, 1, 2, 2, 4}, 4},
                                                                                {{2, 1, 1, 2, 1, 2}, 4},
                                                                                {{1, 2, 2, 1, 2, 8}, 1}}) {
    for (const bool split : {false, true}) {
      TrainingRun run = dealt(microbatches);
      run.mesh = mesh;
      run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
      if (split && (mesh.tp == 1 || (run.ranks / mesh.tp / mesh.pp) % mesh.ep != 0)) continue;
      run.options.experts.split_width = split;
      SCOPED_TRACE(describe(run));
      expect_outcome(run, four);
    }
  }
}

TEST(ExpertParallel, SizesThatDoNotFitAreNamed) {
  const auto message = [](const TrainingRun& run) {
    try {
      train(run);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  TrainingRun run = base_run();
  run.ranks = 3;
  run.mesh = {1, 1, 3, 1, 1, 3};
  EXPECT_NE(message(run).find("ep=3 does not divide the number of experts, 8"), std::string::npos)
      << message(run);
  run.mesh = {1, 1, 1, 1, 2, 2};
  run.ranks = 2;
  run.options.experts.split_width = true;
  EXPECT_NE(message(run).find("ep=2 does not divide dp*cp=1"), std::string::npos) << message(run);
  run.options.experts.split_width = false;
  run.config.moe.experts = 0;
  run.config.moe.layers.clear();
  EXPECT_NE(message(run).find("ep=2: LlamaForCausalLM has no experts to spread"), std::string::npos)
      << message(run);
}

TEST(ExpertLayoutTest, EveryRankHasItsPlaceAmongExpertsShardsAndReplicas) {
  for (const MeshSpec& spec : meshes(8)) {
    for (const bool split : {false, true}) {
      const Mesh mesh(spec, 8);
      if (split && (8 / spec.pp / spec.tp) % spec.ep != 0) continue;
      std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>, int> seats;
      for (int rank = 0; rank < 8; ++rank) {
        const ExpertLayout layout = expert_layout(mesh, rank, split);
        const auto replica =
            static_cast<int64_t>(std::find(layout.replica_ranks.begin(), layout.replica_ranks.end(), rank) -
                                 layout.replica_ranks.begin());
        EXPECT_EQ(layout.ep_ranks.at(layout.ep_index), rank);
        EXPECT_EQ(layout.shard_ranks.at(layout.shard_index), rank);
        const int64_t tp = split ? mesh.coordinate(rank, Axis::tp) : 0;
        ++seats[{mesh.coordinate(rank, Axis::pp), replica, layout.shard_index, layout.ep_index, tp}];
        EXPECT_EQ(spec.pp * static_cast<int64_t>(layout.replica_ranks.size()) * layout.shards * layout.ep *
                      (split ? spec.tp : 1),
                  8);
      }
      EXPECT_EQ(seats.size(), 8u);
    }
  }
}

}  // namespace
}  // namespace tessera::testing
