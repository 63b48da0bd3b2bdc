// The proof that the axes compose: meshes over (pp, dp_replicate, dp_shard, cp, tp) of 2, 4, 8 and 16 rank
// threads, with every exchange, layout, schedule and switch that they allow, against one rank in float32:
// loss, gradient norm, every gradient, and the weights after three steps. The default run takes a covering
// subset, in which every choice of every dimension meets every mesh; with TESSERA_TEST_FULL=1 all
// combinations run.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/error.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using S = PipelineSchedule;
using E = ContextExchange;

/// How a step's documents are dealt out.
struct Deal {
  int microbatches;
  int documents;  ///< of the step
  int joined;     ///< so many neighbours are one long document
};

/// What a mesh can be combined with; every list has at least one entry.
struct Choices {
  std::vector<bool> sequence_parallel;
  std::vector<ContextOptions> contexts;
  std::vector<S> schedules;
  std::vector<Deal> deals;
};

/// An index into each list of Choices.
using Pick = std::array<size_t, 4>;

std::array<size_t, 4> sizes(const Choices& choices) {
  return {choices.sequence_parallel.size(), choices.contexts.size(), choices.schedules.size(),
          choices.deals.size()};
}

ModelConfig sweep_config() {
  ModelConfig config = tiny_config(/*tied=*/true);
  config.num_layers = 6;
  config.sliding_window = {0, 5, 0, 0, 9, 0};
  config.num_heads = 8;
  config.qk_norm = true;
  config.qkv_bias = true;
  return config;
}

TrainingRun base_run(const Deal& deal) {
  TrainingRun run = sgd_run(sweep_config());
  run.options.lr = 0.3;
  run.documents = deal.documents;
  run.joined = deal.joined;
  run.microbatches = deal.microbatches;
  return run;
}

const TrainingOutcome& one_rank(const TrainingRun& like) {
  static std::map<int, TrainingOutcome> outcomes;
  const auto found = outcomes.find(like.joined);
  if (found != outcomes.end()) return found->second;
  return outcomes.emplace(like.joined, train(base_run({1, like.documents, like.joined}))).first->second;
}

std::vector<ContextOptions> contexts(int64_t cp) {
  if (cp == 1) return {{}};
  std::vector<ContextOptions> all;
  for (const ContextLayoutKind layout :
       {ContextLayoutKind::zigzag, ContextLayoutKind::document, ContextLayoutKind::row}) {
    for (const E exchange : {E::ring, E::all_gather, E::ulysses}) all.push_back({exchange, layout, 0, 0});
    if (cp < 4) continue;
    for (const E exchange : {E::ulysses_ring, E::ulysses_all_gather}) all.push_back({exchange, layout, 2, 0});
  }
  return all;
}

std::vector<S> schedules(int64_t pp) {
  if (pp == 1) return {S::one_f_one_b};
  std::vector<S> all = {S::gpipe, S::one_f_one_b, S::zero_bubble};
  if (pp > 4) return all;  // the others have two stages a rank, more than the model has units
  all.insert(all.end(), {S::interleaved, S::interleaved_zero_bubble, S::zero_bubble_v, S::dual_pipe_v});
  return all;
}

Choices choices(const MeshSpec& mesh) {
  Choices all;
  all.sequence_parallel = mesh.tp > 1 ? std::vector<bool>{false, true} : std::vector<bool>{false};
  all.contexts = contexts(mesh.cp);
  all.schedules = schedules(mesh.pp);
  // Many short documents, cut evenly and not (some micro-batches are empty then), and few long ones.
  const bool stages = mesh.pp > 1;
  all.deals = {{stages ? 8 : 1, 16, 1}, {stages ? 9 : 3, 16, 1}, {stages ? 8 : 2, 64, 2}};
  return all;
}

TrainingRun run_of(const MeshSpec& mesh, const Choices& all, const Pick& pick) {
  TrainingRun run = base_run(all.deals[pick[3]]);
  run.mesh = mesh;
  run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
  run.options.sequence_parallel = all.sequence_parallel[pick[0]];
  run.options.context = all.contexts[pick[1]];
  run.options.pipeline.schedule = all.schedules[pick[2]];
  return run;
}

std::string describe(const TrainingRun& run) {
  const ContextOptions& context = run.options.context;
  return cat("pp=", run.mesh.pp, " dp_replicate=", run.mesh.dp_replicate, " dp_shard=", run.mesh.dp_shard,
             " cp=", run.mesh.cp, " tp=", run.mesh.tp, " sequence_parallel=", run.options.sequence_parallel,
             " joined=", run.joined, " exchange=", context_exchange_name(context.exchange), "/",
             context_layout_name(context.layout), " schedule=", schedule_name(run.options.pipeline.schedule),
             " microbatches=", run.microbatches);
}

bool same_as_one_rank(const TrainingRun& run) {
  SCOPED_TRACE(describe(run));
  return expect_outcome(run, one_rank(run));
}

/// All picks, or as many as the longest list has entries, such that every entry of every list appears.
std::vector<Pick> picks(const Choices& all, bool full) {
  const auto size = sizes(all);
  std::vector<Pick> list;
  if (!full) {
    const size_t longest = *std::max_element(size.begin(), size.end());
    for (size_t i = 0; i < longest; ++i) {
      Pick pick{};
      // Lists of equal length would move in step: each goes on by another amount.
      for (size_t d = 0; d < pick.size(); ++d) pick[d] = (i + i / size[d] * d) % size[d];
      list.push_back(pick);
    }
    return list;
  }
  for (Pick pick{};;) {
    list.push_back(pick);
    size_t d = 0;
    while (d < pick.size() && ++pick[d] == size[d]) pick[d++] = 0;
    if (d == pick.size()) return list;
  }
}

void sweep(const std::vector<MeshSpec>& meshes, bool full) {
  int passed = 0;
  int ran = 0;
  for (const MeshSpec& mesh : meshes) {
    const Choices all = choices(mesh);
    for (const Pick& pick : picks(all, full)) {
      ++ran;
      passed += same_as_one_rank(run_of(mesh, all, pick)) ? 1 : 0;
    }
  }
  std::printf("%d of %d combinations over %zu meshes give the one-rank result\n", passed, ran, meshes.size());
  EXPECT_EQ(passed, ran);
}

std::vector<MeshSpec> meshes_of(int ranks) {
  std::vector<MeshSpec> list;
  for (int pp = 1; pp <= ranks; pp *= 2) {
    for (int replicate = 1; pp * replicate <= ranks; replicate *= 2) {
      for (int shard = 1; pp * replicate * shard <= ranks; shard *= 2) {
        for (int cp = 1; pp * replicate * shard * cp <= ranks; cp *= 2) {
          list.push_back({pp, replicate, shard, cp, ranks / (pp * replicate * shard * cp), 1});
        }
      }
    }
  }
  return list;
}

bool full() {
  const char* wanted = std::getenv("TESSERA_TEST_FULL");
  return wanted != nullptr && std::string(wanted) == "1";
}

TEST(Sweep, TwoRanks) {
  sweep(meshes_of(2), full());
}

TEST(Sweep, FourRanks) {
  sweep(meshes_of(4), full());
}

TEST(Sweep, EightRanks) {
  sweep(meshes_of(8), full());
}

TEST(Sweep, SixteenRanks) {
  sweep({{2, 1, 2, 2, 2, 1}, {2, 2, 1, 2, 2, 1}, {4, 1, 2, 1, 2, 1}, {1, 2, 2, 2, 2, 1}, {2, 2, 2, 1, 2, 1}},
        false);
}

}  // namespace
}  // namespace tessera::testing
