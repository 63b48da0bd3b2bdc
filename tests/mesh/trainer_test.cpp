// What the Trainer promises beside the numbers: generation, access by name, loading, and errors that leave it
// usable.
#include "train/trainer.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <mutex>

#include "core/error.h"
#include "support/errors.h"
#include "support/rank_threads.h"
#include "support/single_rank.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

// Runs `body` on the trainer of each of `ranks` dp_shard ranks.
void with_trainers(int ranks, const TrainerOptions& options, const std::function<void(Trainer&, int)>& body,
                   const ModelConfig& config = tiny_config()) {
  run_ranks(ranks, [&](const WorldPtr& world) {
    Trainer trainer(std::make_shared<DeviceMesh>(world, MeshSpec{}), config, "", options);
    body(trainer, world->rank());
  });
}

std::vector<PackedBatch> batches_of(int rank, int64_t vocab = 37) {
  return {documents_batch(4 * rank, 4, vocab)};
}

// An independent book of the same model: units driven directly, without storage, program or executor.
TEST(Trainer, AgreesWithUnitsDrivenDirectly) {
  for (bool tied : {false, true}) {
    const ModelConfig config = tiny_config(tied);
    SingleRankModel reference(config, at::kFloat, false, 5);
    const PackedBatch batch = documents_batch(0, 8, config.vocab_size);
    const auto labels = static_cast<double>(batch.label_count);
    const double loss = reference.forward_backward(batch, 1.0 / labels) / labels;
    with_trainers(
        2, tiny_options(),
        [&](Trainer& trainer, int rank) {
          for (const std::string& name : reference.names())
            trainer.set_parameter(name, reference.weight(name));
          const StepMetrics metrics =
              trainer.forward_backward({documents_batch(4 * rank, 4, config.vocab_size)});
          EXPECT_NEAR(metrics.loss, loss, 1e-6 * loss);
          for (const std::string& name : reference.names()) {
            EXPECT_LT(relative_error(trainer.gradient(name), reference.grad(name), 1e-6), 5e-6) << name;
          }
          EXPECT_LT(relative_error(trainer.logits(batch), reference.logits(batch)), 1e-6);
          EXPECT_NEAR(trainer.evaluate({documents_batch(4 * rank, 4, config.vocab_size)}).loss, loss,
                      1e-6 * loss);
        },
        config);
  }
}

TEST(Trainer, ParametersRoundTripByName) {
  with_trainers(3, tiny_options(), [](Trainer& trainer, int rank) {
    for (const std::string& name : trainer.parameter_names()) {
      const at::Tensor before = trainer.parameter(name);
      const at::Tensor other = before.add(0.5);
      trainer.set_parameter(name, other);
      EXPECT_TRUE(at::equal(trainer.parameter(name), other)) << name;
    }
    EXPECT_EQ(error_of([&] { trainer.parameter("model.norm.wait"); }).code(), Code::not_found);
    EXPECT_STREQ(error_of([&] { trainer.parameter("norm.weight"); }).what(),
                 "no parameter \"norm.weight\": did you mean \"model.norm.weight\"");
    EXPECT_STREQ(error_of([&] { trainer.set_parameter("model.norm.weight", at::full({3, 2}, 1.0)); }).what(),
                 "parameter \"model.norm.weight\" has shape [24], not [3, 2]");
    EXPECT_TRUE(std::isfinite(trainer.step(batches_of(rank)).loss));
  });
}

TEST(Trainer, GradientsAccumulateOverCallsAndAreZeroAfterZeroGrad) {
  with_trainers(2, tiny_options(), [](Trainer& trainer, int rank) {
    const std::string name = "model.layers.0.self_attn.q_proj.weight";
    trainer.forward_backward(batches_of(rank));
    const at::Tensor once = trainer.gradient(name);
    trainer.forward_backward(batches_of(rank));
    EXPECT_LT(relative_error(trainer.gradient(name), once.mul(2)), 1e-6);
    EXPECT_EQ(error_of([&] { trainer.step(batches_of(rank)); }).code(), Code::state);
    trainer.zero_grad();
    EXPECT_EQ(trainer.gradient(name).abs().max().item<float>(), 0.0F);
    EXPECT_EQ(error_of([&] { trainer.optimizer_step(); }).code(), Code::state);
    trainer.forward_backward(batches_of(rank));
    EXPECT_TRUE(at::equal(trainer.gradient(name), once));
  });
}

TEST(Trainer, ALossDenominatorMakesTwoCallsOneStep) {
  with_trainers(2, tiny_options(), [](Trainer& trainer, int rank) {
    const std::vector<PackedBatch> all = {documents_batch(4 * rank, 2, 37),
                                          documents_batch(4 * rank + 2, 2, 37)};
    const int64_t labels = trainer.forward_backward(all).label_tokens;
    const std::string name = "model.embed_tokens.weight";
    const at::Tensor whole = trainer.gradient(name);
    trainer.zero_grad();
    trainer.forward_backward({all[0]}, labels);
    trainer.forward_backward({all[1]}, labels);
    EXPECT_LT(relative_error(trainer.gradient(name), whole), 5e-6);
  });
}

TEST(Trainer, GeneratesTheSameTokensOnEveryRankAndMesh) {
  std::vector<std::vector<int64_t>> all;
  std::mutex mutex;
  for (int ranks : {1, 3}) {
    for (bool copy : {false, true}) {
      TrainerOptions options = tiny_options();
      options.copy_weights = copy;
      with_trainers(ranks, options, [&](Trainer& trainer, int rank) {
        trainer.step(batches_of(rank));
        const auto greedy = trainer.generate({1, 2, 3}, {12, 0.0});
        const auto drawn = trainer.generate({1, 2, 3}, {12, 1.0, 0.9, 20, 7});
        EXPECT_EQ(greedy.size(), 12U);
        EXPECT_EQ(drawn, trainer.generate({1, 2, 3}, {12, 1.0, 0.9, 20, 7}));
        EXPECT_NE(drawn, trainer.generate({1, 2, 3}, {12, 1.0, 0.9, 20, 8}));
        EXPECT_TRUE(std::isfinite(trainer.step(batches_of(rank)).loss));  // weights are sharded again
        // Another rank count trains on other documents: only equal ones compare.
        const std::lock_guard lock(mutex);
        if (ranks == 3) all.push_back(greedy);
      });
    }
  }
  for (const auto& tokens : all) EXPECT_EQ(tokens, all[0]);
}

TEST(Trainer, GreedyGenerationFollowsTheLogits) {
  with_trainers(2, tiny_options(), [](Trainer& trainer, int) {
    const std::vector<int64_t> prompt = {5, 6};
    const std::vector<int64_t> out = trainer.generate(prompt, {3, 0.0});
    PackedBatch batch = random_batch({2}, 37, 1);
    batch.tokens = at::full({2}, 5, at::kLong);
    batch.tokens[1].fill_(6);
    EXPECT_EQ(trainer.logits(batch)[1].argmax().item<int64_t>(), out[0]);
  });
}

TEST(Trainer, GenerateRejectsWhatItCannotDo) {
  with_trainers(2, tiny_options(), [](Trainer& trainer, int) {
    EXPECT_STREQ(error_of([&] { trainer.generate({}, {}); }).what(), "the prompt is empty");
    EXPECT_STREQ(error_of([&] { trainer.generate({37}, {}); }).what(), "prompt[0]=37 is not within 0..36");
    EXPECT_EQ(error_of([&] { trainer.generate({1}, {1, -1.0}); }).code(), Code::argument);
    EXPECT_EQ(error_of([&] { trainer.generate({1}, {1, 1.0, 0.0}); }).code(), Code::argument);
    EXPECT_EQ(error_of([&] { trainer.generate({1}, {5000}); }).code(), Code::argument);
    EXPECT_EQ(trainer.generate({1}, {0}).size(), 0U);
  });
}

TEST(TrainerErrors, AStepWithoutLabelsMovesNothingButTheSchedule) {
  TrainerOptions options = tiny_options();
  options.schedule = {"linear", 0, 10};
  with_trainers(2, options, [](Trainer& trainer, int rank) {
    const at::Tensor before = trainer.parameter("lm_head.weight");
    std::vector<PackedBatch> batches = batches_of(rank);
    batches[0].labels = at::full_like(batches[0].labels, kIgnoredLabel);
    batches[0].label_count = 0;
    const StepMetrics metrics = trainer.step(batches);
    EXPECT_EQ(metrics.loss, 0.0);
    EXPECT_EQ(metrics.grad_norm, 0.0);
    EXPECT_EQ(metrics.label_tokens, 0);
    EXPECT_EQ(metrics.step, 1);
    EXPECT_TRUE(at::equal(trainer.parameter("lm_head.weight"), before));
    EXPECT_EQ(trainer.evaluate(batches).loss, 0.0);
    EXPECT_GT(trainer.step(batches_of(rank)).grad_norm, 0.0);
  });
}

TEST(TrainerErrors, NanNamesStepAndRankAndKeepsTheWeights) {
  for (bool copy : {false, true}) {
    TrainerOptions options = tiny_options();
    options.copy_weights = copy;
    with_trainers(4, options, [](Trainer& trainer, int rank) {
      trainer.step(batches_of(rank));
      // A weight that only token 30 reads, and only rank 2 sees token 30.
      at::Tensor embedding = trainer.parameter("model.embed_tokens.weight");
      embedding[30].fill_(std::numeric_limits<float>::quiet_NaN());
      trainer.set_parameter("model.embed_tokens.weight", embedding);
      const at::Tensor before = trainer.parameter("lm_head.weight");
      std::vector<PackedBatch> batches = {random_batch({4, 5}, 30, rank)};
      if (rank == 2) batches[0].tokens[0].fill_(30);
      const Error error = error_of([&] { trainer.step(batches); });
      EXPECT_EQ(error.code(), Code::numeric);
      EXPECT_EQ(error.rank(), 2);
      EXPECT_NE(std::string(error.what()).find("step 2: the loss is"), std::string::npos) << error.what();
      EXPECT_TRUE(at::equal(trainer.parameter("lm_head.weight"), before));
      EXPECT_EQ(trainer.step_count(), 1);
      // The trainer goes on without the bad token.
      EXPECT_TRUE(std::isfinite(trainer.step({random_batch({4, 5}, 30, rank)}).loss));
    });
  }
}

TEST(TrainerErrors, ABadBatchOnOneRankFailsTheStepOnAllAndTheWorldLives) {
  with_trainers(3, tiny_options(), [](Trainer& trainer, int rank) {
    std::vector<PackedBatch> batches = batches_of(rank);
    if (rank == 1) batches[0].tokens = at::full_like(batches[0].tokens, 99);
    const Error error = error_of([&] { trainer.step(batches); });
    EXPECT_EQ(error.code(), rank == 1 ? Code::argument : Code::peer_failed) << error.what();
    EXPECT_EQ(error.rank(), rank == 1 ? -1 : 1);
    EXPECT_TRUE(std::isfinite(trainer.step(batches_of(rank)).loss));
  });
}

TEST(TrainerErrors, MicrobatchCountsMustAgree) {
  with_trainers(3, tiny_options(), [](Trainer& trainer, int rank) {
    std::vector<PackedBatch> batches(rank == 2 ? 2 : 1, batches_of(rank)[0]);
    EXPECT_EQ(error_of([&] { trainer.step(batches); }).code(), Code::argument);
    EXPECT_EQ(error_of([&] { trainer.step({}); }).code(), Code::argument);
    EXPECT_TRUE(std::isfinite(trainer.step(batches_of(rank)).loss));
  });
}

TEST(TrainerErrors, AFailureInsideAStepReachesThePeers) {
  std::vector<Code> codes(3, Code::ok);
  EXPECT_THROW(run_ranks(3,
                         [&](const WorldPtr& world) {
                           Trainer trainer(std::make_shared<DeviceMesh>(world, MeshSpec{}), tiny_config(), "",
                                           tiny_options());
                           if (world->rank() == 1) throw Error(Code::io, "the disk is gone");
                           const Error error = error_of([&] { trainer.step(batches_of(world->rank())); });
                           codes[world->rank()] = error.code();
                           throw error;
                         }),
               Error);
  EXPECT_EQ(codes[0], Code::peer_failed);
  EXPECT_EQ(codes[2], Code::peer_failed);
}

TEST(TrainerErrors, ImpossibleAxesAndBadOptionsAreNamed) {
  const auto failure = [](MeshSpec spec, TrainerOptions options, int ranks) {
    return error_of([&] {
      run_ranks(ranks, [&](const WorldPtr& world) {
        Trainer trainer(std::make_shared<DeviceMesh>(world, spec), tiny_config(), "", options);
      });
    });
  };
  MeshSpec tp;
  tp.tp = 3;
  EXPECT_STREQ(failure(tp, tiny_options(), 3).what(), "tp=3 does not divide num_attention_heads=4");
  TrainerOptions options = tiny_options();
  options.precision.param = at::kHalf;
  EXPECT_EQ(failure({}, options, 1).code(), Code::unsupported);
  options = tiny_options();
  options.prefetch = -1;
  EXPECT_STREQ(failure({}, options, 1).what(), "prefetch=-1 is not within 0..1024");
  options = tiny_options();
  options.reshard = {ReshardPolicy::Kind::group, 3};
  EXPECT_STREQ(failure({}, options, 4).what(), "reshard_after_forward=3 does not divide dp_shard*cp=4");
  options = tiny_options();
  options.units = {UnitPolicy::Kind::names, 0, {"decoder.*"}};
  EXPECT_EQ(failure({}, options, 1).code(), Code::argument);
  options = tiny_options();
  options.optimizer.name = "adamv";
  EXPECT_EQ(failure({}, options, 1).code(), Code::argument);
}

TEST(TrainerFiles, ExportedWeightsLoadOnAnotherMeshAndFromRankZeroAlone) {
  const std::filesystem::path directory =
      std::filesystem::path(::testing::TempDir()) / "tessera_trainer_export";
  std::filesystem::remove_all(directory);
  std::map<std::string, at::Tensor> expected;
  with_trainers(3, tiny_options(), [&](Trainer& trainer, int rank) {
    trainer.step(batches_of(rank));
    trainer.export_hf(directory.string(), std::nullopt);
    for (const std::string& name : trainer.parameter_names()) {
      const at::Tensor weight = trainer.parameter(name);
      if (rank == 0) expected[name] = weight;
    }
  });
  for (bool from_rank0 : {false, true}) {
    for (const auto& [replicate, shard] : {std::pair{1, 1}, {2, 2}, {1, 5}}) {
      run_ranks(replicate * shard, [&, replicate = replicate](const WorldPtr& world) {
        MeshSpec spec;
        spec.dp_replicate = replicate;
        TrainerOptions options = tiny_options();
        options.load_from_rank0 = from_rank0;
        // Only rank 0 sees the files then.
        const bool sees = !from_rank0 || world->rank() == 0;
        Trainer trainer(std::make_shared<DeviceMesh>(world, spec), tiny_config(),
                        sees ? directory.string() : std::string("/nowhere"), options);
        for (const auto& [name, weight] : expected)
          EXPECT_TRUE(at::equal(trainer.parameter(name), weight)) << name;
      });
    }
  }
  std::filesystem::remove_all(directory);
}

// Two steps, a checkpoint, two more steps; then the same from the checkpoint on any mesh.
TEST(TrainerFiles, ACheckpointContinuesBitwiseOnItsMeshAndCloselyOnOthers) {
  const std::filesystem::path directory =
      std::filesystem::path(::testing::TempDir()) / "tessera_trainer_checkpoint";
  std::filesystem::remove_all(directory);
  TrainerOptions options = tiny_options();
  options.precision.param = at::kBFloat16;
  options.schedule = {"cosine", 1, 10};
  TrainingRun plan;
  plan.config = tiny_config();
  const auto run = [&](int replicate, int shard, bool resume, bool save) {
    std::vector<double> losses;
    run_ranks(replicate * shard, [&](const WorldPtr& world) {
      MeshSpec spec;
      spec.dp_replicate = replicate;
      const auto mesh = std::make_shared<DeviceMesh>(world, spec);
      TrainerOptions other = options;
      if (resume) other.seed = 99;  // weights must come from the checkpoint
      Trainer trainer(mesh, plan.config, "", other);
      if (resume) {
        EXPECT_EQ(trainer.load_checkpoint(directory.string()), "row 32");
      }
      EXPECT_EQ(trainer.step_count(), resume ? 2 : 0);
      for (int step = resume ? 2 : 0; step < 4; ++step) {
        if (step == 2 && save) trainer.save_checkpoint(directory.string(), "row 32");
        const auto batches =
            step_batches(plan, step, static_cast<int>(mesh->index("dp")), static_cast<int>(mesh->size("dp")));
        const StepMetrics metrics = trainer.step(batches);
        if (world->rank() == 0 && step >= 2) losses.push_back(metrics.loss);
      }
      const at::Tensor weight = trainer.parameter("model.layers.1.mlp.up_proj.weight");
      if (world->rank() == 0) losses.push_back(weight.sum().item<double>());
    });
    return losses;
  };
  const std::vector<double> expected = run(1, 4, false, true);
  EXPECT_EQ(run(1, 4, true, false), expected);
  for (const auto& [replicate, shard] : {std::pair{1, 1}, {2, 1}, {1, 3}, {2, 4}}) {
    const std::vector<double> other = run(replicate, shard, true, false);
    for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(other[i], expected[i], 5e-3) << replicate << "x" << shard;
  }
  std::filesystem::remove_all(directory);
}

TEST(TrainerFiles, RankZerosMissingFileIsEveryRanksError) {
  EXPECT_EQ(error_of([&] {
              run_ranks(2, [&](const WorldPtr& world) {
                TrainerOptions options = tiny_options();
                options.load_from_rank0 = true;
                Trainer trainer(std::make_shared<DeviceMesh>(world, MeshSpec{}), tiny_config(), "/nowhere",
                                options);
              });
            }).code(),
            Code::not_found);
}

}  // namespace
}  // namespace tessera::testing
