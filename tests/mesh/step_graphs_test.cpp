// Captured steps: which are captured, what keeps a job from it, and that replays see each step's own tokens.
#include "train/step_graphs.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "support/fake_device.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

using Turn = StepGraphs::Turn;

/// Does again what was captured: the host's part of it too, which CUDA would leave out.
class Again final : public GraphEngine {
 public:
  std::unique_ptr<CapturedWork> capture(const std::function<void()>& body) override {
    struct Work final : CapturedWork {
      Work(std::function<void()> body, int& replays) : body(std::move(body)), replays(replays) {}
      void replay() override {
        if (replays++ > 0) body();  // the first time capture() has
      }
      std::function<void()> body;
      int& replays;
    };
    body();
    ++captures;
    return std::make_unique<Work>(body, replays);
  }
  int captures = 0;
  int replays = 0;
};

TrainingRun graph_run(const std::shared_ptr<Again>& engine) {
  TrainingRun run;
  run.config = tiny_config();
  run.options = tiny_options();
  run.options.graphs = true;
  run.options.graph_engine = engine;
  run.mesh.dp_shard = 1;
  run.on = TrainingRun::On::device_nccl;
  run.steps = 6;
  return run;
}

/// Micro-batches of the same layout at every step, with other tokens.
std::vector<PackedBatch> step_of(int step, int64_t vocab) {
  std::vector<PackedBatch> batches;
  for (int mb = 0; mb < 2; ++mb) {
    PackedBatch batch = documents_batch(mb * 3, 3, vocab);
    batch.tokens = batch.tokens.add(step).remainder(vocab);
    batches.push_back(std::move(batch));
  }
  return batches;
}

std::vector<double> losses_of(TrainerOptions options, int steps) {
  std::vector<double> losses;
  const std::vector<WorldPtr> worlds = fake_device_worlds(1, true);
  worlds[0]->bind_thread();
  const auto mesh = std::make_shared<DeviceMesh>(worlds[0], MeshSpec{.dp_shard = 1});
  const ModelConfig config = tiny_config();
  Trainer trainer(mesh, config, "", options);
  for (int step = 0; step < steps; ++step) {
    const StepMetrics metrics = trainer.step(step_of(step, config.vocab_size));
    losses.push_back(metrics.loss);
    losses.push_back(metrics.grad_norm);
  }
  return losses;
}

TEST(StepGraphs, ReplaysTrainAsStepsThatWereNotCaptured) {
  TrainerOptions options = tiny_options();
  const std::vector<double> expected = losses_of(options, 6);
  const auto engine = std::make_shared<Again>();
  options.graphs = true;
  options.graph_engine = engine;
  EXPECT_EQ(losses_of(options, 6), expected);
  EXPECT_EQ(engine->captures, 1);
  EXPECT_EQ(engine->replays, 5);
  for (const std::string& violation : take_violations()) ADD_FAILURE() << violation;
}

TEST(StepGraphs, LayoutsThatDoNotComeBackAreNotCaptured) {
  const auto engine = std::make_shared<Again>();
  TrainingRun run = graph_run(engine);
  const TrainingOutcome outcome = train(run);
  EXPECT_EQ(engine->captures, 0);
  run.options.graphs = false;
  EXPECT_TRUE(identical(train(run), outcome));
}

TEST(StepGraphs, KeysKnowShapesBoundariesAndLabels) {
  const PackedBatch batch = documents_batch(0, 3, 37);
  PackedBatch other = batch;
  EXPECT_EQ(graph_key({batch}), graph_key({other}));
  other.label_count -= 1;
  EXPECT_NE(graph_key({batch}), graph_key({other}));
  EXPECT_NE(graph_key({batch}), graph_key({batch, batch}));
  EXPECT_NE(graph_key({batch}), graph_key({documents_batch(3, 3, 37)}));
}

TEST(StepGraphs, TheSecondOfALayoutIsCapturedAndNoMoreThanEightAre) {
  StepGraphs graphs(std::make_shared<Again>());
  for (int64_t k = 0; k < 8; ++k) {
    EXPECT_EQ(graphs.turn({k}), Turn::eager);
    EXPECT_EQ(graphs.turn({k}), Turn::capture);
    graphs.graph({k}).work = graphs.engine().capture([] {});
    EXPECT_EQ(graphs.turn({k}), Turn::replay);
  }
  EXPECT_EQ(graphs.turn({8}), Turn::eager);
  EXPECT_EQ(graphs.turn({8}), Turn::eager);
  EXPECT_EQ(graphs.turn({0}), Turn::replay);
}

TEST(StepGraphs, WhatPreventsCaptureIsNamed) {
  const at::Device device(c10::kPrivateUse1, 0);
  const TrainerOptions options;
  ModelConfig config = tiny_config();
  EXPECT_EQ(graph_obstacle(options, config, 1, device), "");
  EXPECT_EQ(graph_obstacle(options, config, 1, at::kCPU), "device=cpu has no graphs");
  EXPECT_NE(graph_obstacle(options, config, 4, device).find("4 ranks"), std::string::npos);
  TrainerOptions offloaded;
  offloaded.offload = true;
  EXPECT_NE(graph_obstacle(offloaded, config, 1, device).find("memory.offload=true"), std::string::npos);
  config.moe.experts = 8;
  EXPECT_NE(graph_obstacle(options, config, 1, device).find("8 experts"), std::string::npos);
  TrainingRun run;
  run.config = tiny_config();
  run.options = tiny_options();
  run.options.graphs = true;
  run.mesh.dp_shard = 1;
  try {
    train(run);
    FAIL() << "graphs of the cpu";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unsupported);
    EXPECT_NE(std::string(error.what()).find("device=cpu"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tessera::testing
