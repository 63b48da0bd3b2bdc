// The training runs that mesh tests compare.
#include "support/training_run.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/error.h"
#include "data/batch_builder.h"
#include "mesh/device_mesh.h"
#include "support/fake_device.h"
#include "support/rank_threads.h"
#include "support/single_rank.h"

namespace tessera::testing {

ModelConfig tiny_config(bool tied) {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = 37;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 6;
  config.sliding_window = {0, 0};
  config.initializer_range = 0.2;
  config.tie_embeddings = tied;
  return config;
}

TrainerOptions tiny_options() {
  TrainerOptions options;
  options.precision = {at::kFloat, at::kFloat, at::kFloat, at::kFloat};
  options.lr = 1e-2;
  options.clip = 0.5;
  options.seed = 11;
  return options;
}

TrainingRun sgd_run(const ModelConfig& config, const MeshSpec& mesh) {
  TrainingRun run;
  run.config = config;
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.optimizer.momentum = 0.9;
  run.options.lr = 0.1;
  run.mesh = mesh;
  run.ranks = static_cast<int>(mesh.pp * mesh.dp_replicate * mesh.dp_shard * mesh.cp * mesh.tp);
  return run;
}

TrainingRun sgd_run_on(const ModelConfig& config, const Way& way) {
  TrainingRun run = sgd_run(config, way.mesh);
  run.options.sequence_parallel = way.sequence_parallel;
  run.options.context.exchange = way.exchange;
  run.options.pipeline.schedule = way.schedule;
  run.options.recompute = way.recompute;
  run.microbatches = way.mesh.pp > 1 ? 4 : 2;
  return run;
}

PackedBatch documents_batch(int first, int count, int64_t vocab, int joined) {
  if (count == 0) return {};
  BatchBuilder builder{BatchLayout{}};
  std::vector<int32_t> all_tokens;
  std::vector<int32_t> all_labels;
  for (int index = first; index < first + count; ++index) {
    std::mt19937 random(static_cast<unsigned>(index) + 1);
    const int length = 1 + static_cast<int>(random() % 13);
    std::vector<int32_t> tokens;
    std::vector<int32_t> labels;
    for (int t = 0; t < length; ++t)
      tokens.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(vocab)));
    for (int t = 0; t < length; ++t) {
      const bool ignored = t + 1 == length || random() % 4 == 0;
      labels.push_back(ignored ? static_cast<int32_t>(kIgnoredLabel) : tokens[t + 1]);
    }
    all_tokens.insert(all_tokens.end(), tokens.begin(), tokens.end());
    all_labels.insert(all_labels.end(), labels.begin(), labels.end());
    if ((index + 1) % joined != 0 && index + 1 < first + count) continue;
    builder.add(all_tokens, all_labels);
    all_tokens.clear();
    all_labels.clear();
  }
  return builder.finish();
}

std::vector<PackedBatch> step_batches(const TrainingRun& run, int step, int dp_rank, int dp_size) {
  const auto cut = [](int total, int index, int parts) { return total * index / parts; };
  const int base = step * run.documents;
  const int begin = cut(run.documents, dp_rank, dp_size);
  const int mine = cut(run.documents, dp_rank + 1, dp_size) - begin;
  std::vector<PackedBatch> batches;
  for (int mb = 0; mb < run.microbatches; ++mb) {
    const int first = cut(mine, mb, run.microbatches);
    const int count = cut(mine, mb + 1, run.microbatches) - first;
    batches.push_back(documents_batch(base + begin + first, count, run.config.vocab_size, run.joined));
  }
  return batches;
}

TrainingOutcome train(const TrainingRun& run) {
  TrainingOutcome outcome;
  const auto body = [&](const WorldPtr& world) {
    const auto mesh = std::make_shared<DeviceMesh>(world, run.mesh);
    Trainer trainer(mesh, run.config, "", run.options);
    for (const auto& [name, value] : run.set) trainer.set_parameter(name, value);
    const auto dp_rank = static_cast<int>(mesh->index("dp"));
    const auto dp_size = static_cast<int>(mesh->size("dp"));
    const bool records = world->rank() == 0;
    for (int step = 0; step < run.steps; ++step) {
      StepMetrics metrics;
      const std::vector<PackedBatch> batches = step_batches(run, step, dp_rank, dp_size);
      if (step == 0) {  // the two halves, to see the gradients between them
        metrics = trainer.forward_backward(batches);
        for (const std::string& name : trainer.parameter_names()) {
          if (run.set.count(name) != 0) continue;
          const at::Tensor gradient = trainer.gradient(name);
          if (records) outcome.gradients[name] = gradient;
        }
        const StepMetrics updated = trainer.optimizer_step();
        metrics.grad_norm = updated.grad_norm;
        metrics.experts = updated.experts;
      } else {
        metrics = trainer.step(batches);
      }
      if (!records) continue;
      outcome.losses.push_back(metrics.loss);
      outcome.norms.push_back(metrics.grad_norm);
      outcome.label_tokens.push_back(metrics.label_tokens);
      outcome.experts.push_back(metrics.experts);
    }
    for (const std::string& name : trainer.parameter_names()) {
      const at::Tensor weight = trainer.parameter(name);
      if (records) outcome.weights[name] = weight;
    }
  };
  if (run.on == TrainingRun::On::cpu || run.on == TrainingRun::On::cuda) {
    WorldOptions options;
    options.device = run.on == TrainingRun::On::cuda ? "cuda" : "cpu";
    run_ranks(run.ranks, body, options);
  } else {
    run_worlds(fake_device_worlds(run.ranks, run.on == TrainingRun::On::device_nccl), body);
  }
  return outcome;
}

double worst_error(const std::map<std::string, at::Tensor>& actual,
                   const std::map<std::string, at::Tensor>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double worst = 0;
  for (const auto& [name, tensor] : expected) {
    worst = std::max(worst, relative_error(actual.at(name), tensor, 1e-6));
  }
  return worst;
}

void with_trainers(const TrainingRun& run, const std::string& checkpoint,
                   const std::function<void(Trainer&, const DeviceMesh&)>& body) {
  run_ranks(run.ranks, [&](const WorldPtr& world) {
    const auto mesh = std::make_shared<DeviceMesh>(world, run.mesh);
    Trainer trainer(mesh, run.config, checkpoint, run.options);
    body(trainer, *mesh);
  });
}

void train_steps(const TrainingRun& run, Trainer& trainer, const DeviceMesh& mesh, int first, int end,
                 std::vector<double>& losses) {
  for (int step = first; step < end; ++step) {
    const auto batches =
        step_batches(run, step, static_cast<int>(mesh.index("dp")), static_cast<int>(mesh.size("dp")));
    const StepMetrics metrics = trainer.step(batches);
    if (mesh.rank() == 0) losses.push_back(metrics.loss);
  }
}

bool expect_outcome(const TrainingRun& run, const TrainingOutcome& expected, double gradient_error) {
  TrainingOutcome actual;
  try {
    actual = train(run);
  } catch (const Error& error) {
    ADD_FAILURE() << error.what();
    return false;
  }
  bool same = actual.losses.size() == expected.losses.size() && actual.label_tokens == expected.label_tokens;
  EXPECT_TRUE(same) << "another number of steps or labels";
  for (size_t s = 0; same && s < expected.losses.size(); ++s) {
    const bool close = std::abs(actual.losses[s] - expected.losses[s]) <= 2e-6 * expected.losses[s] &&
                       std::abs(actual.norms[s] - expected.norms[s]) <= 1e-5 * expected.norms[s];
    EXPECT_TRUE(close) << "step " << s + 1 << ": loss " << actual.losses[s] << " for " << expected.losses[s]
                       << ", norm " << actual.norms[s] << " for " << expected.norms[s];
    same &= close;
  }
  const double gradients = worst_error(actual.gradients, expected.gradients);
  const double weights = worst_error(actual.weights, expected.weights);
  EXPECT_LT(gradients, gradient_error);
  EXPECT_LT(weights, 2e-5);
  return same && gradients < gradient_error && weights < 2e-5;
}

bool identical(const TrainingOutcome& a, const TrainingOutcome& b) {
  const auto same = [](const auto& x, const auto& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const auto& p, const auto& q) {
      return p.first == q.first && at::equal(p.second, q.second);
    });
  };
  return a.losses == b.losses && a.norms == b.norms && same(a.gradients, b.gradients) &&
         same(a.weights, b.weights);
}

}  // namespace tessera::testing
