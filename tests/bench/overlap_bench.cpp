// Communication that computing does not hide: steps of a Llama of 125M parameters in bf16 over 4 ranks, each
// mesh axis by itself, as rank threads or over Gloo. Prints one line per case: seconds of a step and, as
// means over the ranks, the seconds in which a rank did not compute, by what for: dp tp cp pp step.
//   overlap_bench threads [CASE]
//   overlap_bench gloo RANK RENDEZVOUS [CASE]     (one of four)
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "data/batch_builder.h"
#include "models/model.h"
#include "train/trainer.h"

namespace {

using namespace tessera;  // NOLINT: a program, not a header

constexpr int kRanks = 4;
constexpr int kSteps = 6;
constexpr int kWarm = 2;
constexpr int kRow = 512;

constexpr const char* kModel = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
  "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 32000, "max_position_embeddings": 2048,
  "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false, "rope_theta": 10000.0})";

struct Case {
  const char* name;
  MeshSpec mesh;
  int microbatches, rows;  ///< of a data-parallel rank: micro-batches, rows in each
  std::function<void(TrainerOptions&)> choose = [](TrainerOptions&) {};
};

MeshSpec mesh(int pp, int shard, int cp, int tp) {
  MeshSpec spec;
  spec.pp = pp;
  spec.dp_shard = shard;
  spec.cp = cp;
  spec.tp = tp;
  return spec;
}

PipelineOptions pipeline(PipelineSchedule schedule) {
  PipelineOptions options;
  options.schedule = schedule;
  return options;
}

std::vector<Case> cases() {
  using E = ContextExchange;
  using L = ContextLayoutKind;
  using S = PipelineSchedule;
  return {
      {"dp_shard", mesh(1, kRanks, 1, 1), 1, 1},
      {"tp", mesh(1, 1, 1, kRanks), 1, 4},
      {"tp_sequence", mesh(1, 1, 1, kRanks), 1, 4, [](auto& o) { o.sequence_parallel = true; }},
      {"cp_ring", mesh(1, 1, kRanks, 1), 1, 4, [](auto& o) { o.context = {E::ring, L::zigzag, 0, 0}; }},
      {"cp_all_gather", mesh(1, 1, kRanks, 1), 1, 4,
       [](auto& o) { o.context = {E::all_gather, L::zigzag, 0, 0}; }},
      {"cp_ulysses", mesh(1, 1, kRanks, 1), 1, 4, [](auto& o) { o.context = {E::ulysses, L::row, 0, 0}; }},
      {"pp_1f1b", mesh(kRanks, 1, 1, 1), 8, 1},
      {"pp_interleaved", mesh(kRanks, 1, 1, 1), 8, 1, [](auto& o) { o.pipeline = pipeline(S::interleaved); }},
      {"pp_zb_h1", mesh(kRanks, 1, 1, 1), 8, 1, [](auto& o) { o.pipeline = pipeline(S::zero_bubble); }},
      {"pp_zb_v", mesh(kRanks, 1, 1, 1), 8, 1, [](auto& o) { o.pipeline = pipeline(S::zero_bubble_v); }},
  };
}

PackedBatch random_rows(int rows, uint32_t seed) {
  BatchBuilder builder{BatchLayout{}};
  uint32_t state = seed;
  for (int row = 0; row < rows; ++row) {
    std::vector<int32_t> tokens(kRow);
    for (int32_t& token : tokens) {
      state = state * 1664525U + 1013904223U;
      token = static_cast<int32_t>(state >> 8) % 32000;
    }
    builder.add(tokens, tokens);
  }
  return builder.finish();
}

/// Means over the ranks.
std::vector<double> mean(Group& group, const std::vector<double>& mine) {
  const at::Tensor values = at::tensor(mine, at::dtype(at::kDouble));
  group.all_reduce({values}, ReduceOp::sum)->wait();
  const double* data = values.const_data_ptr<double>();
  std::vector<double> means(data, data + mine.size());
  for (double& value : means) value /= group.size();
  return means;
}

void measure(const WorldPtr& world, const Case& c) {
  const auto device_mesh = std::make_shared<DeviceMesh>(world, c.mesh);
  TrainerOptions options;
  c.choose(options);
  Trainer trainer(device_mesh, parse_model_config(kModel), "", options);
  std::vector<std::vector<double>> steps;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<PackedBatch> batches;
    for (int mb = 0; mb < c.microbatches; ++mb) {
      batches.push_back(random_rows(
          c.rows, static_cast<uint32_t>(1 + mb + c.microbatches * (device_mesh->index("dp") + 8 * step))));
    }
    const StepMetrics m = trainer.step(batches);
    const ExposedSeconds& e = m.exposed;
    if (step >= kWarm) steps.push_back(mean(*world->everyone(), {m.seconds, e.dp, e.tp, e.cp, e.pp, e.step}));
  }
  // The step of median length.
  std::sort(steps.begin(), steps.end());
  if (world->rank() != 0) return;
  std::printf("%s", c.name);
  for (const double value : steps[steps.size() / 2]) std::printf(" %.4f", value);
  std::printf("\n");
  std::fflush(stdout);
}

/// A case in a world of its own, since a world keeps the groups of its mesh.
void run(const WorldPtr& world, const Case& c) {
  world->bind_thread();
  measure(world, c);
  world->close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const bool threads = mode == "threads";
  if (!threads && (mode != "gloo" || argc < 4)) {
    std::fprintf(stderr, "usage: overlap_bench (threads | gloo RANK RENDEZVOUS) [CASE]\n");
    return 2;
  }
  const int last = threads ? 2 : 4;
  const std::string wanted = argc > last ? argv[last] : "";
  for (const Case& c : cases()) {
    if (std::string(c.name).find(wanted) == std::string::npos) continue;
    WorldOptions options;
    options.intra_op_threads = 1;
    if (threads) {
      std::vector<std::thread> ranks;
      for (const WorldPtr& world : World::threads(kRanks, options))
        ranks.emplace_back([world, &c] { run(world, c); });
      for (std::thread& rank : ranks) rank.join();
      continue;
    }
    options.rank = options.local_rank = std::atoi(argv[2]);
    options.size = options.local_size = kRanks;
    options.backend = "gloo";
    options.rendezvous = cat(argv[3], ".", c.name);
    run(World::connect(options), c);
  }
  return 0;
}
