// What balances experts: selection biases that follow the load, the same bit for bit on every mesh; the loads
// that a step reports; the balance loss of a whole step; and capacity.
#include <gtest/gtest.h>

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

constexpr int64_t kExperts = 8;
constexpr double kSpeed = 1e-3;  // no float32, and its multiples are rounded

std::string bias_name(int layer) {
  return cat("model.layers.", layer, ".mlp.gate.e_score_correction_bias");
}

/// Layers: dense, three with experts whose routers have a selection bias.
TrainingRun biased_run() {
  TrainingRun run;
  run.config = tiny_config();
  run.config.num_layers = 4;
  run.config.sliding_window.assign(4, 0);
  run.config.num_heads = 8;
  run.config.moe.experts = kExperts;
  run.config.moe.intermediate_size = 16;
  run.config.moe.shared_intermediate_size = 24;
  run.config.moe.layers = {false, true, true, true};
  run.config.moe.routing.scoring = kernels::RoutingOptions::Scoring::sigmoid;
  run.config.moe.routing.top_k = 2;
  run.config.moe.routing.normalize = true;
  run.config.moe.selection_bias_name = "gate.e_score_correction_bias";
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.lr = 0.1;
  run.options.experts.bias_update_speed = kSpeed;
  run.mesh.dp_shard = 1;
  for (int layer = 1; layer < 4; ++layer) run.set[bias_name(layer)] = at::zeros({kExperts}, at::kFloat);
  return run;
}

/// Every token goes to expert 3 and expert 4.
TrainingRun driven_run() {
  TrainingRun run = biased_run();
  const at::Tensor bias = at::zeros({kExperts}, at::kFloat);
  bias.narrow(0, 3, 2).fill_(10);
  for (int layer = 1; layer < 4; ++layer) run.set[bias_name(layer)] = bias;
  return run;
}

void place(TrainingRun& run, const MeshSpec& mesh, int microbatches) {
  run.mesh = mesh;
  run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
  run.microbatches = microbatches;
}

struct Placed {
  MeshSpec mesh;
  int microbatches;
  bool split_width = false;
  bool sequence_parallel = false;
};
const std::vector<Placed> kMeshes = {{{1, 1, 1, 1, 1, 1}, 5},
                                     {{1, 1, 4, 1, 1, 4}, 1},
                                     {{1, 2, 2, 1, 1, 2}, 3},
                                     {{1, 1, 1, 1, 4, 4}, 2},
                                     {{1, 1, 1, 1, 4, 1}, 2, true},
                                     {{1, 1, 2, 1, 2, 2}, 2, true, true},
                                     {{1, 1, 1, 2, 2, 4}, 2, false, true},
                                     {{1, 1, 1, 2, 2, 2}, 2, true},
                                     {{2, 1, 2, 1, 2, 4}, 4},
                                     {{4, 1, 1, 2, 1, 2}, 8},
                                     {{2, 2, 1, 1, 2, 1}, 8, true}};

TEST(ExpertBalance, BiasesMoveAgainstTheLoadByTheSpeedOfEachStep) {
  const TrainingOutcome outcome = train(driven_run());
  float overloaded = 10, idle = 0;
  for (int step = 0; step < 3; ++step) {
    overloaded -= static_cast<float>(kSpeed);
    idle += static_cast<float>(kSpeed);
  }
  at::Tensor expected = at::full({kExperts}, idle, at::kFloat);
  expected.narrow(0, 3, 2).fill_(overloaded);
  for (int layer = 1; layer < 4; ++layer) {
    EXPECT_TRUE(at::equal(outcome.weights.at(bias_name(layer)), expected));
  }
}

TEST(ExpertBalance, EqualLoadsMoveNothing) {
  TrainingRun run = biased_run();
  run.config.moe.routing.top_k = kExperts;
  const TrainingOutcome outcome = train(run);
  EXPECT_TRUE(at::equal(outcome.weights.at(bias_name(2)), at::zeros({kExperts})));
  EXPECT_EQ(outcome.experts.back().load_ratio, 1.0);
  EXPECT_EQ(outcome.experts.back().idle, 0.0);
}

TEST(ExpertBalance, BiasesAndLoadsAreTheSameBitForBitOnEveryMesh) {
  TrainingRun run = biased_run();
  run.options.experts.balance_loss = 1e-12;  // measured, without effect
  run.options.experts.z_loss = 1e-12;
  const TrainingOutcome one_rank = train(run);
  for (int layer = 1; layer < 4; ++layer) {
    EXPECT_GT(one_rank.weights.at(bias_name(layer)).abs().min().item<float>(), 0.0F);
  }
  EXPECT_GT(one_rank.experts[0].load_ratio, 1.0);
  for (const Placed& placed : kMeshes) {
    place(run, placed.mesh, placed.microbatches);
    run.options.experts.split_width = placed.split_width;
    run.options.sequence_parallel = placed.sequence_parallel;
    SCOPED_TRACE(cat("pp=", run.mesh.pp, " dp=", run.mesh.dp_replicate * run.mesh.dp_shard,
                     " cp=", run.mesh.cp, " tp=", run.mesh.tp, " ep=", run.mesh.ep));
    const TrainingOutcome other = train(run);
    for (int layer = 1; layer < 4; ++layer) {
      EXPECT_TRUE(at::equal(other.weights.at(bias_name(layer)), one_rank.weights.at(bias_name(layer))));
    }
    for (size_t step = 0; step < one_rank.experts.size(); ++step) {
      EXPECT_EQ(other.experts[step].load_ratio, one_rank.experts[step].load_ratio);
      EXPECT_EQ(other.experts[step].idle, one_rank.experts[step].idle);
      EXPECT_NEAR(other.experts[step].z_loss, one_rank.experts[step].z_loss,
                  1e-5 * one_rank.experts[step].z_loss);
    }
  }
}

TEST(ExpertBalance, ADrivenRoutersLoadsAreWhatTheyMustBe) {
  TrainingRun run = driven_run();
  run.options.experts.balance_loss = 0.01;
  const TrainingOutcome outcome = train(run);
  for (const ExpertMetrics& experts : outcome.experts) {
    EXPECT_EQ(experts.load_ratio, 4.0);  // two of eight take everything
    EXPECT_EQ(experts.idle, 0.75);
    // 8 (P_3 + P_4), with sigmoid scores between 0 and 1.
    EXPECT_GT(experts.balance_loss, 0.0);
    EXPECT_LT(experts.balance_loss, 16.0);
    EXPECT_EQ(experts.z_loss, 0.0);
  }
  run = biased_run();
  run.config.moe.experts = 0;
  run.config.moe.layers.clear();
  run.config.moe.selection_bias_name.clear();
  run.set.clear();
  run.options.experts.bias_update_speed = 0;
  EXPECT_EQ(train(run).experts[0].load_ratio, 0.0);
}

TEST(ExpertBalance, ABiasDecidesInFullPrecisionWhateverTheWeightsHave) {
  TrainingRun run = biased_run();
  run.options.precision.param = at::kBFloat16;
  run.options.precision.master = at::kBFloat16;
  run.options.experts.bias_update_speed = 0;
  // Above all scores, and apart by less than bfloat16 tells: the third and the fourth are the largest.
  const at::Tensor bias = at::full({kExperts}, 1000.0F, at::kFloat);
  bias.narrow(0, 2, 2).fill_(1001.5F);
  for (int layer = 1; layer < 4; ++layer) run.set[bias_name(layer)] = bias;
  for (const Placed& placed : {Placed{{1, 1, 1, 1, 1, 1}, 1}, Placed{{1, 1, 2, 1, 2, 4}, 2}}) {
    place(run, placed.mesh, placed.microbatches);
    for (const bool copy : {false, true}) {
      run.options.copy_weights = copy;
      const TrainingOutcome outcome = train(run);
      EXPECT_TRUE(at::equal(outcome.weights.at(bias_name(1)), bias));
      EXPECT_EQ(outcome.experts[0].load_ratio, 4.0);
      EXPECT_EQ(outcome.experts[0].idle, 0.75);
    }
  }
}

TEST(ExpertBalance, AccumulatedCallsCountAsOneStepAndForgottenOnesNot) {
  const TrainingRun run = biased_run();
  const auto bias_after = [&](bool in_parts) {
    at::Tensor bias;
    run_ranks(1, [&](const WorldPtr& world) {
      Trainer trainer(std::make_shared<DeviceMesh>(world, run.mesh), run.config, "", run.options);
      const std::vector<PackedBatch> all = {documents_batch(0, 6, 37), documents_batch(6, 6, 37)};
      if (in_parts) {
        trainer.forward_backward({documents_batch(20, 9, 37)});
        trainer.zero_grad();
        trainer.forward_backward({all[0]}, all[0].label_count + all[1].label_count);
        trainer.forward_backward({all[1]}, all[0].label_count + all[1].label_count);
        trainer.evaluate({documents_batch(40, 9, 37)});
        trainer.optimizer_step();
      } else {
        trainer.step(all);
      }
      bias = trainer.parameter(bias_name(3));
    });
    return bias;
  };
  EXPECT_TRUE(at::equal(bias_after(true), bias_after(false)));
  EXPECT_GT(bias_after(true).abs().max().item<float>(), 0.0F);
}

/// Micro-batches of the same tokens on every mesh: 4 a step over all data ranks.
const std::vector<Placed> kFourMicrobatches = {{{1, 1, 4, 1, 1, 4}, 1},
                                               {{1, 2, 2, 1, 2, 8}, 1},
                                               {{1, 1, 2, 1, 2, 2}, 2, true},
                                               {{1, 1, 1, 2, 2, 4}, 4, false, true},
                                               {{1, 1, 2, 1, 2, 4}, 2, false, true},
                                               {{2, 1, 1, 2, 1, 2}, 4},
                                               {{2, 1, 2, 2, 1, 1}, 2}};

TEST(ExpertBalance, TheGlobalLossIsThatOfOneMicrobatchHoweverTokensAreDealtOut) {
  TrainingRun run = biased_run();
  run.options.experts.bias_update_speed = 0;
  run.options.experts.balance_loss = 0.3;
  const TrainingOutcome whole = train(run);  // the micro-batch is the step
  run.microbatches = 4;
  const TrainingOutcome parts = train(run);
  const char* gate = "model.layers.3.mlp.gate.weight";
  EXPECT_GT(worst_error({{gate, parts.gradients.at(gate)}}, {{gate, whole.gradients.at(gate)}}), 1e-3);
  run.options.experts.global_balance = true;
  std::vector<Placed> all = kFourMicrobatches;
  all.insert(all.end(), kMeshes.begin(), kMeshes.end());
  for (const Placed& placed : all) {
    place(run, placed.mesh, placed.microbatches);
    run.options.experts.split_width = placed.split_width;
    run.options.sequence_parallel = placed.sequence_parallel;
    SCOPED_TRACE(cat("pp=", run.mesh.pp, " dp=", run.mesh.dp_replicate * run.mesh.dp_shard,
                     " cp=", run.mesh.cp, " tp=", run.mesh.tp, " ep=", run.mesh.ep,
                     " microbatches=", run.microbatches));
    expect_outcome(run, whole);
  }
}

TEST(ExpertBalance, TheGlobalLossIsReportedAndCountsEmptyRanks) {
  TrainingRun run = biased_run();
  run.options.experts.bias_update_speed = 0;
  run.options.experts.balance_loss = 0.3;
  run.documents = 3;
  const TrainingOutcome whole = train(run);
  run.options.experts.global_balance = true;
  for (const auto& [mesh, microbatches] :
       {std::pair{MeshSpec{1, 1, 8, 1, 1, 1}, 1}, {MeshSpec{1, 1, 4, 1, 2, 8}, 3}}) {
    place(run, mesh, microbatches);
    const TrainingOutcome other = train(run);
    EXPECT_LT(worst_error(other.gradients, whole.gradients), 1e-5);
    EXPECT_NEAR(other.experts[0].balance_loss, whole.experts[0].balance_loss, 1e-5);
    EXPECT_GE(whole.experts[0].balance_loss, 0.1);
  }
}

TEST(ExpertBalance, ALimitedCapacityDropsTheSameTokensOnEveryMesh) {
  TrainingRun run = biased_run();
  run.options.experts.bias_update_speed = 0;
  run.microbatches = 4;
  const TrainingOutcome dropless = train(run);
  run.options.experts.capacity_factor = 100;
  EXPECT_TRUE(identical(train(run), dropless));
  run.options.experts.capacity_factor = 1;
  const TrainingOutcome limited = train(run);
  EXPECT_GT(worst_error(limited.gradients, dropless.gradients), 1e-3);
  for (const char* exchange : {"all_to_all", "all_gather"}) {
    for (const Placed& placed : kFourMicrobatches) {
      place(run, placed.mesh, placed.microbatches);
      run.options.experts.split_width = placed.split_width;
      run.options.experts.exchange = exchange;
      run.options.sequence_parallel = placed.sequence_parallel;
      run.options.recompute = placed.mesh.ep == 4 ? Recompute::full : Recompute::none;
      SCOPED_TRACE(cat("pp=", run.mesh.pp, " dp=", run.mesh.dp_replicate * run.mesh.dp_shard,
                       " cp=", run.mesh.cp, " tp=", run.mesh.tp, " ep=", run.mesh.ep, " ", exchange));
      expect_outcome(run, limited);
    }
  }
}

TEST(ExpertBalance, CheckpointsAndExportsKeepEveryBitOfABias) {
  const std::filesystem::path root =
      std::filesystem::path(::testing::TempDir()) / cat("tessera_bias_", ::getpid());
  std::filesystem::remove_all(root);
  TrainingRun run = biased_run();
  run.options.precision.param = at::kBFloat16;
  run.options.precision.master = at::kBFloat16;
  std::map<std::string, at::Tensor> expected;
  for (const bool resumed : {false, true}) {
    run.options.seed = resumed ? 99 : 11;
    place(run, resumed ? MeshSpec{1, 1, 2, 1, 1, 1} : MeshSpec{2, 1, 2, 1, 2, 4}, resumed ? 2 : 4);
    run_ranks(run.ranks, [&](const WorldPtr& world) {
      const auto mesh = std::make_shared<DeviceMesh>(world, run.mesh);
      Trainer trainer(mesh, run.config, "", run.options);
      if (!resumed) {
        trainer.step(step_batches(run, 0, static_cast<int>(mesh->index("dp")), 2));
        trainer.save_checkpoint((root / "saved").string(), "");
        trainer.export_hf((root / "exported").string(), at::kBFloat16);
      } else {
        trainer.load_checkpoint((root / "saved").string());
      }
      for (int layer = 1; layer < 4; ++layer) {
        const at::Tensor bias = trainer.parameter(bias_name(layer));
        if (world->rank() == 0 && !resumed) expected[bias_name(layer)] = bias;
        if (resumed) {
          EXPECT_TRUE(at::equal(bias, expected.at(bias_name(layer))));
        }
      }
    });
  }
  for (const bool from_rank0 : {false, true}) {
    run.options.load_from_rank0 = from_rank0;
    place(run, MeshSpec{1, 1, 3, 1, 1, 1}, 1);
    run_ranks(run.ranks, [&](const WorldPtr& world) {
      Trainer trainer(std::make_shared<DeviceMesh>(world, run.mesh), run.config, (root / "exported").string(),
                      run.options);
      for (const auto& [name, bias] : expected) EXPECT_TRUE(at::equal(trainer.parameter(name), bias));
    });
  }
  EXPECT_EQ(CheckpointReader((root / "exported").string()).entry(bias_name(1)).dtype, at::kFloat);
  EXPECT_EQ(CheckpointReader((root / "exported").string()).entry("model.norm.weight").dtype, at::kBFloat16);
  std::filesystem::remove_all(root);
}

TEST(ExpertBalance, ASpeedForRoutersWithoutABiasIsAnError) {
  TrainingRun run = biased_run();
  run.config.moe.selection_bias_name.clear();
  try {
    train(run);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "bias_update_speed=0.001: the routers of LlamaForCausalLM have no selection bias");
  }
}

}  // namespace
}  // namespace tessera::testing
