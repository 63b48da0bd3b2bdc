// Step times that the simulator says for this machine, calibrated just before, beside those of real steps on
// meshes of rank threads: a table, and with --json a JSON object a mesh.
//   simulator_bench [--json] [--fp32] [STEPS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <random>
#include <thread>
#include <vector>

#include "comm/world.h"
#include "core/error.h"
#include "data/batch_builder.h"
#include "simulate/calibrate.h"
#include "train/plan_time.h"
#include "train/trainer.h"

namespace {

using namespace tessera;  // NOLINT: a program

constexpr int64_t kSequence = 1024;

ModelConfig model(bool experts) {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.model_type = "llama";
  config.vocab_size = 8192;
  config.hidden_size = 512;
  config.intermediate_size = 1408;
  config.num_layers = 8;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 64;
  config.sliding_window.assign(8, 0);
  if (!experts) return config;
  config.moe.experts = 8;
  config.moe.intermediate_size = 704;
  config.moe.routing.top_k = 2;
  config.moe.layers.assign(8, true);
  return config;
}

struct Job {
  const char* name;
  MeshSpec mesh;
  int64_t microbatches;
  Recompute recompute = Recompute::none;
  PipelineSchedule schedule = PipelineSchedule::one_f_one_b;
  bool sequence_parallel = false;
  bool experts = false;
};

std::vector<Job> jobs() {
  return {
      {"fsdp 4", {1, 1, 4, 1, 1}, 1},
      {"fsdp 4, 2 micro-batches", {1, 1, 4, 1, 1}, 2},
      {"fsdp 4, selective", {1, 1, 4, 1, 1}, 1, Recompute::selective},
      {"fsdp 4, full recompute", {1, 1, 4, 1, 1}, 1, Recompute::full},
      {"hsdp 2 x 2", {1, 2, 2, 1, 1}, 1},
      {"tp 4", {1, 1, 1, 1, 4}, 1},
      {"tp 2, fsdp 2, sequence parallel",
       {1, 1, 2, 1, 2},
       1,
       Recompute::none,
       PipelineSchedule::one_f_one_b,
       true},
      {"cp 4", {1, 1, 1, 4, 1}, 2},
      {"cp 2, fsdp 2", {1, 1, 2, 2, 1}, 1},
      {"pp 4, 1f1b, 8 micro-batches", {4, 1, 1, 1, 1}, 8},
      {"pp 4, zb_h1, 8 micro-batches", {4, 1, 1, 1, 1}, 8, Recompute::none, PipelineSchedule::zero_bubble},
      {"pp 2, fsdp 2, 4 micro-batches", {2, 1, 2, 1, 1}, 4},
      {"pp 2, tp 2, 4 micro-batches", {2, 1, 1, 1, 2}, 4},
      {"8 experts, fsdp 4", {1, 1, 4, 1, 1}, 1, Recompute::none, PipelineSchedule::one_f_one_b, false, true},
      {"8 experts, ep 4", {1, 1, 4, 1, 1, 4}, 1, Recompute::none, PipelineSchedule::one_f_one_b, false, true},
  };
}

PackedBatch batch(int64_t vocab, unsigned seed) {
  std::mt19937 random(seed);
  BatchBuilder builder{BatchLayout{}};
  std::vector<int32_t> tokens, labels;
  for (int64_t t = 0; t < kSequence; ++t) {
    tokens.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(vocab)));
    labels.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(vocab)));
  }
  builder.add(tokens, labels);
  return builder.finish();
}

// The shortest of several steps, as rank 0 sees them: whatever else runs on the machine only adds.
double real_seconds(const Job& job, const TrainerOptions& options, int ranks, int steps) {
  const std::vector<WorldPtr> worlds = World::threads(ranks);
  std::vector<double> seconds;
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        worlds[rank]->bind_thread();
        const ModelConfig config = model(job.experts);
        const auto mesh = std::make_shared<DeviceMesh>(worlds[rank], job.mesh);
        Trainer trainer(mesh, config, "", options);
        std::vector<PackedBatch> batches;
        const auto part = static_cast<unsigned>(mesh->index("dp"));
        for (unsigned m = 0; m < job.microbatches; ++m)
          batches.push_back(batch(config.vocab_size, 100 * part + m));
        trainer.step(batches);
        for (int step = 0; step < steps; ++step) {
          const double taken = trainer.step(batches).seconds;
          if (rank == 0) seconds.push_back(taken);
        }
        worlds[rank]->close();
      } catch (const std::exception& error) {
        errors[rank] = std::current_exception();
        worlds[rank]->abort(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return *std::min_element(seconds.begin(), seconds.end());
}

double matrix_rate(const Cluster& cluster) {
  return cluster.bf16_flops * cluster.gemm_share;
}

}  // namespace

int main(int argc, char** argv) try {
  constexpr int kRanks = 4;
  bool json = false;
  bool wide = false;
  int steps = 6;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[i], "--fp32") == 0) {
      wide = true;
    } else {
      steps = std::max(1, std::atoi(argv[i]));
    }
  }
  CalibrationOptions calibration;
  calibration.ranks = kRanks;
  calibration.threads = 1;
  calibration.wide = wide;
  if (!json) {
    std::fprintf(stderr, "%s\n", to_json(calibrate(calibration)).c_str());
    std::printf("| mesh | measured s | simulated s | error | computing | exposed | bubble |\n");
    std::printf("|---|---:|---:|---:|---:|---:|---:|\n");
  }
  for (const Job& job : jobs()) {
    const Cluster before = calibrate(calibration);
    TrainerOptions options;
    options.precision.param = wide ? at::kFloat : at::kBFloat16;
    options.recompute = job.recompute;
    options.pipeline.schedule = job.schedule;
    options.sequence_parallel = job.sequence_parallel;
    const double real = real_seconds(job, options, kRanks, steps);
    // The faster of two measurements, as of the steps.
    const Cluster after = calibrate(calibration);
    const Cluster& cluster = matrix_rate(before) > matrix_rate(after) ? before : after;
    const Mesh mesh(job.mesh, kRanks);
    const ModelConfig config = model(job.experts);
    const StepShape shape =
        step_shape(mesh, job.microbatches * mesh.size_of({Axis::dp_replicate, Axis::dp_shard}), 1, kSequence);
    const StepTime time = time_plan(plan_training(config, options, mesh, shape), config, options, cluster);
    const double error = time.seconds / real - 1;
    if (json) {
      std::printf(
          "{\"bench\": \"simulator\", \"mesh\": \"%s\", \"dtype\": \"%s\", \"measured\": %.4f, "
          "\"simulated\": %.4f, \"error\": %.4f}\n",
          job.name, wide ? "fp32" : "bf16", real, time.seconds, error);
    } else {
      std::printf("| %s | %.3f | %.3f | %+.0f %% | %.0f %% | %.0f %% | %.0f %% |\n", job.name, real,
                  time.seconds, 100 * error, 100 * time.computing, 100 * time.exposed, 100 * time.bubble);
    }
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "simulator_bench: %s\n", error.what());
  return 1;
}
