// Times of planned steps, and the search over meshes: exact counts and orderings, not seconds.
#include "train/plan_search.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "support/training_run.h"
#include "train/plan_formulas.h"

namespace tessera::testing {
namespace {

ModelConfig llama(int64_t hidden, int64_t intermediate, int64_t layers, int64_t heads) {
  ModelConfig config = tiny_config();
  config.vocab_size = 128256;
  config.hidden_size = hidden;
  config.intermediate_size = intermediate;
  config.num_layers = layers;
  config.num_heads = heads;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.sliding_window.assign(static_cast<size_t>(layers), 0);
  return config;
}
ModelConfig llama8b() {
  return llama(4096, 14336, 32, 32);
}
ModelConfig llama70b() {
  return llama(8192, 28672, 80, 64);
}

/// Qwen3-30B-A3B: 128 experts, of which a token meets 8.
ModelConfig qwen3_30b() {
  ModelConfig config = llama(2048, 6144, 48, 32);
  config.vocab_size = 151936;
  config.num_kv_heads = 4;
  config.qk_norm = true;
  config.moe.experts = 128;
  config.moe.intermediate_size = 768;
  config.moe.routing.top_k = 8;
  config.moe.layers.assign(48, true);
  return config;
}

SearchOptions job(int world, int64_t global_batch = 0, int64_t seq_len = 8192) {
  SearchOptions options;
  options.world = world;
  options.global_batch = global_batch;
  options.seq_len = seq_len;
  return options;
}

PlanCandidate way(const SearchOptions& options, const MeshSpec& mesh, int64_t micro_batch = 1) {
  PlanCandidate candidate;
  candidate.mesh = mesh;
  candidate.micro_batch = micro_batch;
  const Mesh resolved(mesh, options.world);
  candidate.microbatches =
      options.global_batch / (micro_batch * resolved.size_of({Axis::dp_replicate, Axis::dp_shard}));
  candidate.options.sequence_parallel = mesh.tp > 1;
  return candidate;
}

const Cluster& h100() {
  static const Cluster cluster = find_cluster("h100-8x-ib");
  return cluster;
}

TEST(PlanTime, CountsTheOperationsOfTheModel) {
  // 6 for each weight of a matrix, and attention: Llama 3 8B has 7.5e9 of them without the embedding.
  const ModelConfig config = llama8b();
  const double matrices = 128256.0 * 4096 + 32 * (2.0 * 4096 * 4096 + 2.0 * 4096 * 1024 + 3.0 * 4096 * 14336);
  const double attention = 32 * 12 * 4096.0 * (8192 + 1) / 2;
  EXPECT_DOUBLE_EQ(model_flops_per_token(config, 8192), 6 * matrices + attention);
  ModelConfig windowed = config;
  windowed.sliding_window.assign(32, 1024);
  EXPECT_LT(model_flops_per_token(windowed, 8192), model_flops_per_token(config, 8192));
}

TEST(PlanTime, CountsTheExpertsThatATokenMeets) {
  const ModelConfig config = qwen3_30b();
  const double matrices =
      151936.0 * 2048 + 48 * (2.0 * 2048 * 4096 + 2.0 * 2048 * 512 + 128.0 * 2048 + 8 * 3.0 * 2048 * 768);
  EXPECT_DOUBLE_EQ(model_flops_per_token(config, 4096), 6 * matrices + 48 * 12 * 4096.0 * (4096 + 1) / 2);
}

TEST(PlanTime, CountsProductsOfLatentAttention) {
  ModelConfig config = llama(1024, 4096, 2, 8);
  config.latent.q_rank = 256;
  config.latent.kv_rank = 128;
  config.latent.plain_dim = 96;
  config.latent.rope_dim = 32;
  config.latent.value_dim = 64;
  const double projections =
      1024.0 * 256 + 256.0 * 8 * 128 + 1024.0 * (128 + 32) + 128.0 * 8 * (96 + 64) + 8 * 64 * 1024.0;
  const double matrices = 128256.0 * 1024 + 2 * (projections + 3.0 * 1024 * 4096);
  EXPECT_DOUBLE_EQ(model_flops_per_token(config, 512),
                   6 * matrices + 2 * 6 * 8 * (128.0 + 64) * (512 + 1) / 2);
}

TEST(PlanTime, SpreadExpertsSaveMemoryAndCostExchanges) {
  const SearchOptions options = job(32, 64, 4096);
  double before = 1e30;
  for (const int64_t ep : {2, 8, 32}) {
    PlanCandidate candidate = way(options, {1, 1, 32, 1, 1, ep});
    candidate.options.reshard.kind = ReshardPolicy::Kind::never;  // gathered weights are what ep saves
    const PlanCandidate plan = evaluate_plan(qwen3_30b(), options, h100(), candidate);
    EXPECT_LT(static_cast<double>(plan.memory.peak), before) << ep;
    before = static_cast<double>(plan.memory.peak);
    Cluster slow = h100();
    slow.inter_bandwidth /= 8;
    const double slower = evaluate_plan(qwen3_30b(), options, slow, candidate).time.exposed;
    if (ep > slow.node_devices) EXPECT_GT(slower, plan.time.exposed) << ep;
  }
}

TEST(PlanSearch, SpreadsExperts) {
  // A row a rank is too little computing to hide gathers of all experts behind.
  SearchOptions options = job(64, 64, 4096);
  options.top = 2;
  options.space.pp = {1};
  const SearchReport report = search_plans(qwen3_30b(), options, h100());
  ASSERT_FALSE(report.best.empty());
  EXPECT_GT(report.best[0].mesh.ep, 1);
  EXPECT_NE(to_json(report).find("\"parallel.ep\":"), std::string::npos);
  options.space.ep = {4};
  for (const PlanCandidate& plan : search_plans(qwen3_30b(), options, h100()).best) {
    EXPECT_EQ(plan.mesh.ep, 4);
  }
}

TEST(PlanTime, SharesAddUpAndStayBelowThePeak) {
  const SearchOptions options = job(64, 256);
  for (const MeshSpec& mesh : {MeshSpec{1, 1, 64, 1, 1}, MeshSpec{1, 8, 8, 1, 1}, MeshSpec{4, 1, 8, 1, 2},
                               MeshSpec{2, 1, 4, 4, 2}, MeshSpec{1, 1, 8, 1, 8}}) {
    const PlanCandidate plan = evaluate_plan(llama8b(), options, h100(), way(options, mesh));
    const StepTime& t = plan.time;
    EXPECT_NEAR(t.computing + t.exposed + t.bubble, 1, 1e-6);
    EXPECT_GT(t.mfu, 0.05);
    EXPECT_LT(t.mfu, h100().gemm_share);
    EXPECT_NEAR(t.tokens_per_second * t.seconds, 256.0 * 8192, 1e-3 * 256 * 8192);
    EXPECT_EQ(t.bubble > 0.01, mesh.pp > 1) << mesh.pp;
  }
}

TEST(PlanTime, FasterLinksAndDevicesNeverCostTime) {
  const SearchOptions options = job(32, 64, 4096);
  const PlanCandidate candidate = way(options, {2, 1, 4, 2, 2});
  const double base = evaluate_plan(llama8b(), options, h100(), candidate).time.seconds;
  for (const auto member : {&Cluster::bf16_flops, &Cluster::memory_bandwidth, &Cluster::intra_bandwidth,
                            &Cluster::inter_bandwidth}) {
    Cluster faster = h100();
    faster.*member *= 4;
    EXPECT_LE(evaluate_plan(llama8b(), options, faster, candidate).time.seconds, base);
  }
  for (const auto member : {&Cluster::intra_latency, &Cluster::inter_latency, &Cluster::launch_seconds}) {
    Cluster slower = h100();
    slower.*member += 1e-4;
    EXPECT_GT(evaluate_plan(llama8b(), options, slower, candidate).time.seconds, base);
  }
}

TEST(PlanTime, SchedulesStandInTheOrderOfTheirBubbles) {
  const SearchOptions options = job(8, 16);
  ModelConfig config = llama(4096, 14336, 64, 32);
  config.vocab_size = 128;  // nothing but layers: stages are equal
  const auto bubble = [&](PipelineSchedule schedule, int per_rank) {
    PlanCandidate candidate = way(options, {8, 1, 1, 1, 1});
    candidate.options.pipeline.schedule = schedule;
    candidate.options.pipeline.per_rank = per_rank;
    return evaluate_plan(config, options, h100(), candidate).time.bubble;
  };
  const double plain = bubble(PipelineSchedule::one_f_one_b, 0);
  EXPECT_LT(bubble(PipelineSchedule::interleaved, 2), plain);
  EXPECT_LT(bubble(PipelineSchedule::zero_bubble, 0), plain);
  // (pp - 1) / (m + pp - 1) of a balanced pipeline.
  EXPECT_NEAR(plain, 7.0 / 23, 0.05);
}

TEST(PlanTime, RecomputationCostsTimeAndSavesMemory) {
  const SearchOptions options = job(8, 8);
  std::vector<PlanCandidate> plans;
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::mlp, Recompute::full}) {
    PlanCandidate candidate = way(options, {1, 1, 8, 1, 1});
    candidate.options.recompute = recompute;
    plans.push_back(evaluate_plan(llama8b(), options, h100(), candidate));
  }
  for (int i = 1; i < 4; ++i) {
    EXPECT_GT(plans[i].time.seconds, plans[i - 1].time.seconds);
    EXPECT_LT(plans[i].memory.peak, plans[i - 1].memory.peak);
  }
  // A third of the products again, but for the down projections, 27 % of a layer's weights.
  EXPECT_NEAR(plans[3].time.seconds / plans[0].time.seconds, 1 + 0.73 / 3, 0.06);
}

TEST(PlanTime, LongStepsAreCarriedOnAsTheyWouldBeWalked) {
  const SearchOptions options = job(8, 61);
  for (const PipelineSchedule schedule :
       {PipelineSchedule::one_f_one_b, PipelineSchedule::interleaved, PipelineSchedule::zero_bubble}) {
    for (const int64_t pp : {1, 4, 8}) {
      const MeshSpec mesh{pp, 1, 1, 8 / pp, 1};
      PlanCandidate candidate = way(options, mesh);
      candidate.options.pipeline.schedule = schedule;
      ASSERT_EQ(candidate.microbatches, 61);
      const PlanCandidate carried = evaluate_plan(llama8b(), options, h100(), candidate);
      const Mesh resolved(mesh, 8);
      StepShape shape = step_shape(resolved, 61, 1, options.seq_len);
      shape.shared_memory = false;
      shape.on_device = true;
      const TrainingPlan plan = plan_training(llama8b(), candidate.options, resolved, shape);
      const StepTime walked = time_plan(plan, llama8b(), candidate.options, h100());
      EXPECT_NEAR(carried.time.seconds / walked.seconds, 1, 0.005) << pp;
      EXPECT_NEAR(carried.time.bubble, walked.bubble, 0.005) << pp;
      EXPECT_NEAR(carried.time.tokens_per_second / walked.tokens_per_second, 1, 0.005) << pp;
      EXPECT_NEAR(carried.time.mfu, walked.mfu, 0.005) << pp;
      EXPECT_EQ(carried.memory.peak, plan.memory.peak) << pp;
    }
  }
}

TEST(PlanMemory, GradientsOnGpusTakeMemoryWhenTheyCome) {
  const SearchOptions options = job(1, 1);
  const Mesh mesh(MeshSpec{1, 1, 1, 1, 1}, 1);
  PlanCandidate candidate = way(options, MeshSpec{1, 1, 1, 1, 1});
  StepShape shape = step_shape(mesh, 1, 1, options.seq_len);
  shape.on_device = true;
  const TrainingPlan late = plan_training(llama8b(), candidate.options, mesh, shape);
  candidate.options.graphs = true;  // captured addresses stay
  const TrainingPlan kept = plan_training(llama8b(), candidate.options, mesh, shape);
  EXPECT_LT(late.memory.peak, kept.memory.peak);
  EXPECT_GE(late.memory.peak, kept.memory.peak - kept.memory.gradients);
}

TEST(PlanSearch, TheSieveIsNearTheWalk) {
  const SearchOptions options = job(64, 256);
  PlanFormulas formulas(llama70b(), options, h100());
  for (const MeshSpec& mesh :
       {MeshSpec{1, 1, 64, 1, 1}, MeshSpec{1, 2, 32, 1, 1}, MeshSpec{4, 1, 2, 1, 8}, MeshSpec{8, 1, 1, 2, 4},
        MeshSpec{1, 1, 8, 1, 8}, MeshSpec{16, 1, 4, 1, 1}, MeshSpec{1, 1, 8, 8, 1}}) {
    for (const Recompute recompute : {Recompute::none, Recompute::full}) {
      PlanCandidate candidate = way(options, mesh);
      candidate.options.recompute = recompute;
      candidate.options.defer_gradient_sync = mesh.pp > 1;
      const PlanFormulas::Estimate quick = formulas.estimate(candidate, Mesh(mesh, 64));
      const PlanCandidate plan = evaluate_plan(llama70b(), options, h100(), candidate);
      EXPECT_NEAR(quick.seconds / plan.time.seconds, 1, 0.15)
          << "pp=" << mesh.pp << " shard=" << mesh.dp_shard << " tp=" << mesh.tp;
      EXPECT_NEAR(quick.bytes / static_cast<double>(plan.memory.peak), 1, 0.15)
          << "pp=" << mesh.pp << " shard=" << mesh.dp_shard << " tp=" << mesh.tp;
    }
  }
}

TEST(PlanSearch, TheSieveIsNearTheWalkWithExperts) {
  const SearchOptions options = job(64, 256, 4096);
  PlanFormulas formulas(qwen3_30b(), options, h100());
  for (const MeshSpec& mesh : {MeshSpec{1, 1, 64, 1, 1, 8}, MeshSpec{1, 1, 64, 1, 1, 1},
                               MeshSpec{4, 1, 16, 1, 1, 16}, MeshSpec{1, 1, 32, 1, 2, 8}}) {
    PlanCandidate candidate = way(options, mesh);
    candidate.options.recompute = Recompute::full;
    candidate.options.defer_gradient_sync = mesh.pp > 1;
    const PlanFormulas::Estimate quick = formulas.estimate(candidate, Mesh(mesh, 64));
    const PlanCandidate plan = evaluate_plan(qwen3_30b(), options, h100(), candidate);
    EXPECT_NEAR(quick.seconds / plan.time.seconds, 1, 0.15) << Mesh(mesh, 64).describe();
    EXPECT_NEAR(quick.bytes / static_cast<double>(plan.memory.peak), 1, 0.15) << Mesh(mesh, 64).describe();
  }
}

TEST(PlanSearch, RanksMeshesThatFitAndEachOnce) {
  const SearchReport report = search_plans(llama70b(), job(1024), h100());
  ASSERT_EQ(report.best.size(), 10U);
  EXPECT_FALSE(report.smallest);
  EXPECT_EQ(report.global_batch, 1024);
  EXPECT_GT(report.considered, report.fitting);
  EXPECT_LE(report.walked, 200);
  std::set<std::string> meshes;
  for (size_t i = 0; i < report.best.size(); ++i) {
    const PlanCandidate& plan = report.best[i];
    const Mesh mesh(plan.mesh, 1024);
    EXPECT_TRUE(meshes.insert(mesh.describe()).second) << mesh.describe();
    EXPECT_LE(static_cast<double>(plan.memory.peak), h100().memory_bytes * (1 - h100().reserved_fraction));
    if (i > 0) EXPECT_GE(plan.time.seconds, report.best[i - 1].time.seconds);
    EXPECT_EQ(plan.microbatches * plan.micro_batch * plan.mesh.dp_replicate * plan.mesh.dp_shard, 1024);
  }
  // What the search says of a plan is what planning it alone says.
  const PlanCandidate again =
      evaluate_plan(llama70b(), job(1024, report.global_batch), h100(), report.best[0]);
  EXPECT_EQ(again.time.seconds, report.best[0].time.seconds);
  EXPECT_EQ(again.memory.peak, report.best[0].memory.peak);
}

// All ways of a small space planned and walked: the sieve must not have lost the best.
TEST(PlanSearch, FindsWhatTryingAllFinds) {
  SearchOptions options = job(32, 64, 4096);
  options.top = 1;
  options.space.pipelines = {PipelineOptions{}};
  options.space.defer_gradient_sync = {false};
  options.space.micro_batch = {1, 2};
  const SearchReport report = search_plans(llama8b(), options, h100());
  ASSERT_EQ(report.best.size(), 1U);
  double best = 1e30;
  for (const int64_t pp : {1, 2, 4, 8, 16}) {
    for (const int64_t tp : {1, 2, 4, 8}) {
      for (const int64_t cp : {1, 2, 4, 8}) {
        if (32 % (pp * tp * cp) != 0) continue;
        for (const int64_t micro : {1, 2}) {
          for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
            for (const auto reshard : {ReshardPolicy::Kind::keep_last, ReshardPolicy::Kind::never}) {
              PlanCandidate candidate = way(options, {pp, 1, 32 / (pp * tp * cp), cp, tp}, micro);
              candidate.options.recompute = recompute;
              candidate.options.reshard.kind = reshard;
              candidate.options.defer_gradient_sync = false;
              const PlanCandidate plan = evaluate_plan(llama8b(), options, h100(), candidate);
              if (static_cast<double>(plan.memory.peak) > 0.94 * h100().memory_bytes) continue;
              best = std::min(best, plan.time.seconds);
            }
          }
        }
      }
    }
  }
  EXPECT_LE(report.best[0].time.seconds, 1.02 * best);
}

TEST(PlanSearch, AHundredThousandRanksAreNoMoreWork) {
  const SearchReport report = search_plans(llama70b(), job(100'000), h100());
  ASSERT_FALSE(report.best.empty());
  EXPECT_LE(report.walked, 300);
  for (const PlanCandidate& plan : report.best) EXPECT_NO_THROW(Mesh(plan.mesh, 100'000));
}

TEST(PlanSearch, KeepsWhatIsFixed) {
  SearchOptions options = job(64, 64);
  options.space.tp = {4};
  options.space.pp = {2};
  options.space.recompute = {Recompute::full};
  options.space.micro_batch = {2};
  const SearchReport report = search_plans(llama8b(), options, h100());
  ASSERT_FALSE(report.best.empty());
  for (const PlanCandidate& plan : report.best) {
    EXPECT_EQ(plan.mesh.tp, 4);
    EXPECT_EQ(plan.mesh.pp, 2);
    EXPECT_EQ(plan.options.recompute, Recompute::full);
    EXPECT_EQ(plan.micro_batch, 2);
  }
  options.space.pp = {3};
  try {
    search_plans(llama8b(), options, h100());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "no mesh of 64 ranks divides 64 rows as the recipe fixes it");
  }
}

TEST(PlanSearch, SaysWhatIsMissingWhenNothingFits) {
  const SearchReport report = search_plans(llama70b(), job(1, 1), h100());
  EXPECT_TRUE(report.best.empty());
  ASSERT_TRUE(report.smallest);
  EXPECT_GT(static_cast<double>(report.smallest->memory.peak), h100().memory_bytes);
  EXPECT_NE(to_text(report).find("nothing fits"), std::string::npos);
}

TEST(PlanSearch, ReportsAsTextAndJson) {
  SearchOptions options = job(16, 32);
  options.top = 3;
  const SearchReport report = search_plans(llama8b(), options, h100());
  const nlohmann::json json = nlohmann::json::parse(to_json(report));
  ASSERT_EQ(json.at("plans").size(), 3U);
  EXPECT_EQ(json.at("world"), 16);
  const auto& plan = json.at("plans")[0];
  EXPECT_EQ(plan.at("mesh").at("tp"), report.best[0].mesh.tp);
  EXPECT_EQ(plan.at("recipe").at("train.micro_batch"), report.best[0].micro_batch);
  EXPECT_EQ(plan.at("memory_bytes").at("peak"), report.best[0].memory.peak);
  const std::string text = to_text(report);
  EXPECT_NE(text.find("16 ranks of h100-8x-ib, 80.0 GB each"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7) << text;
}

}  // namespace
}  // namespace tessera::testing
