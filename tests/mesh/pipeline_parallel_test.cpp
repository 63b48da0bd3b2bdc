// Pipeline meshes give the numbers of one rank, whatever the schedule.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "core/error.h"
#include "support/rank_threads.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using S = PipelineSchedule;

constexpr S kSchedules[] = {S::gpipe,       S::one_f_one_b,   S::interleaved,
                            S::zero_bubble, S::zero_bubble_v, S::interleaved_zero_bubble,
                            S::dual_pipe_v};

ModelConfig deep_config(bool tied) {
  ModelConfig config = tiny_config(tied);
  config.num_layers = 6;
  config.sliding_window.assign(6, 0);
  return config;
}

TrainingRun job(bool tied, int pp, S schedule, int microbatches) {
  TrainingRun run = sgd_run(deep_config(tied));
  run.options.lr = 0.3;
  run.options.pipeline.schedule = schedule;
  run.mesh.pp = pp;
  run.ranks = pp;
  run.microbatches = microbatches;
  return run;
}

const TrainingOutcome& one_rank(bool tied) {
  static std::map<bool, TrainingOutcome> outcomes;
  const auto found = outcomes.find(tied);
  if (found != outcomes.end()) return found->second;
  return outcomes.emplace(tied, train(job(tied, 1, S::one_f_one_b, 1))).first->second;
}

void expect_same(const TrainingRun& run, const TrainingOutcome& expected, const std::string& what) {
  SCOPED_TRACE(what);
  expect_outcome(run, expected, 5e-6);
}

TEST(PipelineParallel, EveryScheduleGivesTheOneRankResult) {
  for (const bool tied : {false, true}) {
    for (const S schedule : kSchedules) {
      for (const int pp : {2, 4}) {
        for (const int microbatches : {8, 9}) {
          expect_same(
              job(tied, pp, schedule, microbatches), one_rank(tied),
              cat(schedule_name(schedule), " pp=", pp, " microbatches=", microbatches, " tied=", tied));
        }
      }
    }
  }
}

TEST(PipelineParallel, AsManyStagesAsUnitsAndFewMicrobatches) {
  for (const bool tied : {false, true}) {
    expect_same(job(tied, 8, S::one_f_one_b, 3), one_rank(tied), cat("pp=8, one unit a stage, tied=", tied));
    expect_same(job(tied, 4, S::zero_bubble_v, 1), one_rank(tied), cat("zb_v, one micro-batch, tied=", tied));
    expect_same(job(tied, 2, S::one_f_one_b, 1), one_rank(tied), cat("pp=2, one micro-batch, tied=", tied));
  }
}

TEST(PipelineParallel, ComposesWithEveryOtherAxis) {
  struct Axes {
    int replicate, shard, cp, tp;
    bool sequence;
  };
  for (const S schedule : {S::one_f_one_b, S::zero_bubble_v, S::interleaved_zero_bubble}) {
    for (const Axes& axes :
         {Axes{1, 2, 1, 1, false}, Axes{2, 1, 1, 1, false}, Axes{1, 1, 2, 1, false}, Axes{1, 1, 1, 2, false},
          Axes{1, 1, 1, 2, true}, Axes{1, 2, 1, 2, true}, Axes{1, 1, 2, 2, true}, Axes{2, 2, 1, 1, false}}) {
      TrainingRun run = job(true, 2, schedule, 4);
      run.mesh.dp_replicate = axes.replicate;
      run.mesh.dp_shard = axes.shard;
      run.mesh.cp = axes.cp;
      run.mesh.tp = axes.tp;
      run.options.sequence_parallel = axes.sequence;
      run.ranks = 2 * axes.replicate * axes.shard * axes.cp * axes.tp;
      expect_same(run, one_rank(true),
                  cat(schedule_name(schedule), " dp_replicate=", axes.replicate, " dp_shard=", axes.shard,
                      " cp=", axes.cp, " tp=", axes.tp, " sequence=", axes.sequence));
    }
  }
}

TEST(PipelineParallel, RecomputeReshardAndGradientSync) {
  for (const S schedule : {S::one_f_one_b, S::zero_bubble, S::zero_bubble_v}) {
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      for (const bool defer : {true, false}) {
        TrainingRun run = job(true, 2, schedule, 5);
        run.mesh.dp_shard = 2;
        run.ranks = 4;
        run.options.recompute = recompute;
        run.options.defer_gradient_sync = defer;
        run.options.reshard.kind = defer ? ReshardPolicy::Kind::never : ReshardPolicy::Kind::always;
        run.options.copy_weights = !defer;
        expect_same(
            run, one_rank(true),
            cat(schedule_name(schedule), " recompute=", static_cast<int>(recompute), " defer=", defer));
      }
    }
  }
}

TEST(PipelineParallel, SplitsAndProgramsGivenByTheUser) {
  TrainingRun run = job(false, 2, S::one_f_one_b, 3);
  run.options.pipeline.stage_layers = {1, 5};
  expect_same(run, one_rank(false), "layers 1, 5");
  run.options.pipeline.stage_layers = {0, 6};
  expect_same(run, one_rank(false), "an embedding and the rest");
  run.options.pipeline = {};
  run.options.units = {UnitPolicy::Kind::size, 5000, {}};
  expect_same(run, one_rank(false), "units of several layers");
  run.options.units = {};
  run.microbatches = 2;
  run.options.pipeline.schedule = S::custom;
  run.options.pipeline.program = "0F0,0F1,0I0,0B1,0W0\n1F0,1B0,1F1,1I1,1W1\n";
  expect_same(run, one_rank(false), "a program from text");
}

TEST(PipelineParallel, WithAdamW) {
  TrainingRun alone = job(true, 1, S::one_f_one_b, 1);
  alone.options = tiny_options();
  TrainingRun run = job(true, 4, S::one_f_one_b, 4);
  run.options = tiny_options();
  expect_same(run, train(alone), "1f1b pp=4");
}

TEST(PipelineParallel, CheckpointsAndExportsMoveBetweenMeshes) {
  for (const bool tied : {false, true}) {
    const std::filesystem::path root =
        std::filesystem::path(::testing::TempDir()) / cat("tessera_pipeline", tied);
    std::filesystem::remove_all(root);
    const std::string saved = (root / "checkpoint").string();
    const std::string exported = (root / "export").string();
    std::vector<double> expected;
    std::map<std::string, at::Tensor> weights;
    TrainingRun run = job(tied, 4, S::one_f_one_b, 4);
    run.mesh.tp = 2;
    run.ranks = 8;
    with_trainers(run, "", [&](Trainer& trainer, const DeviceMesh& mesh) {
      train_steps(run, trainer, mesh, 0, 2, expected);
      trainer.save_checkpoint(saved, "here");
      trainer.export_hf(exported, std::nullopt);
      for (const std::string& name : trainer.parameter_names()) {
        const at::Tensor weight = trainer.parameter(name);
        if (mesh.rank() == 0) weights[name] = weight;
      }
      train_steps(run, trainer, mesh, 2, 4, expected);
    });
    TrainingRun v_shaped = job(tied, 2, S::zero_bubble_v, 2);
    v_shaped.mesh.dp_shard = 2;
    v_shaped.ranks = 4;
    for (const TrainingRun& other :
         {job(tied, 1, S::one_f_one_b, 1), job(tied, 8, S::one_f_one_b, 2), v_shaped}) {
      SCOPED_TRACE(cat("pp=", other.mesh.pp, " tied=", tied));
      std::vector<double> losses;
      with_trainers(other, "", [&](Trainer& trainer, const DeviceMesh& mesh) {
        EXPECT_EQ(trainer.load_checkpoint(saved), "here");
        train_steps(other, trainer, mesh, 2, 4, losses);
      });
      for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(losses[i], expected[i + 2], 2e-5 * expected[i + 2]);
      for (const bool from_rank0 : {false, true}) {
        TrainingRun loading = other;
        loading.options.load_from_rank0 = from_rank0;
        with_trainers(loading, exported, [&](Trainer& trainer, const DeviceMesh&) {
          EXPECT_EQ(trainer.parameter_names().size(), weights.size());
          for (const auto& [name, weight] : weights) {
            EXPECT_TRUE(at::equal(trainer.parameter(name), weight)) << name;
          }
        });
      }
    }
    std::filesystem::remove_all(root);
  }
}

TEST(PipelineParallel, EvaluationLogitsGenerationAndSettingOfParameters) {
  const PackedBatch batch = documents_batch(3, 4, 37);
  const std::vector<int64_t> prompt = {1, 5, 2};
  GenerateOptions options;
  options.max_new_tokens = 5;
  at::Tensor logits;
  std::vector<int64_t> generated;
  double evaluated = 0;
  TrainingRun mixed = job(true, 2, S::interleaved, 2);
  mixed.mesh.tp = 2;
  mixed.mesh.cp = 2;
  mixed.ranks = 8;
  for (const TrainingRun& run : {job(true, 1, S::one_f_one_b, 1), job(true, 4, S::one_f_one_b, 1),
                                 job(true, 2, S::zero_bubble_v, 1), mixed}) {
    SCOPED_TRACE(cat("pp=", run.mesh.pp));
    with_trainers(run, "", [&](Trainer& trainer, const DeviceMesh& mesh) {
      const std::string name = "model.embed_tokens.weight";
      const at::Tensor table = trainer.parameter(name).mul(1.5);
      trainer.set_parameter(name, table);
      EXPECT_TRUE(at::equal(trainer.parameter(name), table));
      const at::Tensor mine = trainer.logits(batch);
      const std::vector<int64_t> text = trainer.generate(prompt, options);
      const double loss = trainer.evaluate({batch, documents_batch(9, 2, 37)}).loss;
      if (mesh.rank() != 0) return;
      if (!logits.defined()) {
        logits = mine;
        generated = text;
        evaluated = loss;
      }
      EXPECT_LT(mine.sub(logits).abs().max().item<double>(), 5e-6);
      EXPECT_EQ(text, generated);
      EXPECT_NEAR(loss, evaluated, 1e-6);
    });
  }
}

TEST(PipelineParallel, MistakesAreEveryRanksErrorAndTheWorldLives) {
  const auto message = [](const TrainingRun& run, const std::string& when) {
    std::vector<std::string> messages(run.ranks);
    run_ranks(run.ranks, [&](const WorldPtr& world) {
      try {
        const auto mesh = std::make_shared<DeviceMesh>(world, run.mesh);
        Trainer trainer(mesh, run.config, "", run.options);
        if (when == "step") trainer.step(step_batches(run, 0, 0, 1));
        if (when == "parameter") trainer.parameter("model.layers.9.norm");
      } catch (const Error& error) {
        messages[world->rank()] = error.what();
      }
      if (!when.empty()) world->everyone()->barrier();
    });
    for (const std::string& text : messages) EXPECT_EQ(text, messages[0]);
    return messages[0];
  };
  EXPECT_EQ(message(job(false, 2, S::dual_pipe_v, 3), "step"),
            "dualpipe_v over pp=2 needs at least 4 micro-batches, not 3");
  EXPECT_EQ(message(job(false, 2, S::one_f_one_b, 3), "parameter").substr(0, 34),
            "no parameter \"model.layers.9.norm\"");
  TrainingRun run = job(false, 2, S::one_f_one_b, 2);
  run.options.pipeline.stage_layers = {2, 2};
  EXPECT_EQ(message(run, ""), "pp_split adds up to 4 layers, the model has 6");
  run = job(false, 2, S::interleaved, 2);
  run.options.pipeline.per_rank = 5;
  EXPECT_EQ(message(run, ""), "10 pipeline stages for 8 units (embedding, layers, head)");
}

}  // namespace
}  // namespace tessera::testing
