// Published training speeds on GPU clusters beside what the simulator says of the same jobs: a table in
// Markdown, or with --json a JSON object a row.
//   published_bench [--json]
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "train/plan_time.h"

namespace {

using namespace tessera;  // NOLINT: a program

ModelConfig llama(int64_t hidden, int64_t intermediate, int64_t layers, int64_t heads, int64_t kv_heads,
                  int64_t vocab = 128256) {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.model_type = "llama";
  config.vocab_size = vocab;
  config.hidden_size = hidden;
  config.intermediate_size = intermediate;
  config.num_layers = layers;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.head_dim = 128;
  config.sliding_window.assign(static_cast<size_t>(layers), 0);
  return config;
}

ModelConfig llama8b() {
  return llama(4096, 14336, 32, 32, 8);
}
ModelConfig llama70b() {
  return llama(8192, 28672, 80, 64, 8);
}
ModelConfig llama405b() {
  return llama(16384, 53248, 126, 128, 8);
}
ModelConfig qwen7b() {
  return llama(3584, 18944, 28, 28, 4, 152064);
}
ModelConfig qwen32b() {
  return llama(5120, 27648, 64, 40, 8, 152064);
}

ModelConfig with_experts(ModelConfig config, int64_t experts, int64_t top_k, int64_t width,
                         int64_t first = 0) {
  config.moe.experts = experts;
  config.moe.intermediate_size = width;
  config.moe.routing.top_k = top_k;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) config.moe.layers.push_back(layer >= first);
  return config;
}

ModelConfig qwen30b() {
  ModelConfig config = with_experts(llama(2048, 6144, 48, 32, 4, 151936), 128, 8, 768);
  config.qk_norm = true;
  return config;
}

ModelConfig gpt_oss(int64_t layers, int64_t experts) {
  ModelConfig config = with_experts(llama(2880, 2880, layers, 64, 8, 201088), experts, 4, 2880);
  config.head_dim = 64;
  for (int64_t layer = 0; layer < layers; layer += 2) config.sliding_window[layer] = 128;
  return config;
}

ModelConfig deepseek_v3() {
  ModelConfig config = with_experts(llama(7168, 18432, 61, 128, 128, 129280), 256, 8, 2048, 3);
  config.moe.shared_intermediate_size = 2048;
  config.latent.q_rank = 1536;
  config.latent.kv_rank = 512;
  config.latent.plain_dim = 128;
  config.latent.rope_dim = 64;
  config.latent.value_dim = 128;
  config.head_dim = 192;
  return config;
}

struct Row {
  const char* source;
  const char* job;
  ModelConfig model;
  int world;
  MeshSpec mesh;
  int64_t seq_len;
  int64_t global_batch;
  int64_t micro_batch;
  bool frozen;       // adapters on frozen weights: no weight gradients, no optimizer to speak of
  double published;  // tokens a second and GPU
};

MeshSpec mesh(int64_t pp, int64_t cp, int64_t tp) {
  return {pp, 1, -1, cp, tp};
}

MeshSpec expert_mesh(int64_t pp, int64_t ep) {
  return {pp, 1, -1, 1, 1, ep};
}

// The publishers give TFLOP/s a GPU where they give no tokens: by their count, which is that of
// model_flops_per_token.
double from_tflops(const ModelConfig& model, int64_t seq_len, double tflops) {
  return tflops * 1e12 / model_flops_per_token(model, seq_len);
}

std::vector<Row> rows() {
  const char* nemo = "NeMo AutoModel";
  const char* titan = "torchtitan";
  const char* paper = "Llama 3 paper";
  return {
      {nemo, "Llama 3 70B pre-training, 64 GPUs, cp 2", llama70b(), 64, mesh(1, 2, 1), 8192, 128, 1, false,
       866.77},
      {nemo, "Llama 3 8B LoRA, 1 GPU", llama8b(), 1, mesh(1, 1, 1), 4096, 32, 2, true, 12472.87},
      {nemo, "Qwen 2.5 7B LoRA, 1 GPU", qwen7b(), 1, mesh(1, 1, 1), 4096, 32, 2, true, 14110.05},
      {nemo, "Llama 3 70B LoRA, 8 GPUs, tp 2", llama70b(), 8, mesh(1, 1, 2), 4096, 32, 2, true, 1091.85},
      {nemo, "Qwen 2.5 32B LoRA, 8 GPUs, tp 2", qwen32b(), 8, mesh(1, 1, 2), 4096, 32, 2, true, 2250.31},
      {nemo, "Llama 3 70B LoRA, 16 GPUs, tp 2", llama70b(), 16, mesh(1, 1, 2), 4096, 32, 2, true, 984.85},
      {nemo, "Qwen 2.5 32B LoRA, 16 GPUs, tp 2", qwen32b(), 16, mesh(1, 1, 2), 4096, 32, 2, true, 2072.89},
      {nemo, "Qwen3 30B-A3B, 8 GPUs, ep 8", qwen30b(), 8, expert_mesh(1, 8), 4096, 512, 4, false, 12040},
      {nemo, "gpt-oss 20B, 8 GPUs", gpt_oss(24, 32), 8, expert_mesh(1, 1), 4096, 256, 2, false, 13058},
      {nemo, "gpt-oss 120B, 64 GPUs", gpt_oss(36, 128), 64, expert_mesh(1, 1), 4096, 512, 2, false, 7626},
      {nemo, "DeepSeek V3, 256 GPUs, pp 4, ep 64", deepseek_v3(), 256, expert_mesh(4, 64), 4096, 512, 1,
       false, 1002},
      {nemo, "DeepSeek V3, 1024 GPUs, pp 4, ep 64", deepseek_v3(), 1024, expert_mesh(4, 64), 4096, 8192, 1,
       false, 865},
      {titan, "Llama 3.1 8B, 8 GPUs", llama8b(), 8, mesh(1, 1, 1), 8192, 16, 2, false, 6667},
      {titan, "Llama 3.1 8B, 128 GPUs", llama8b(), 128, mesh(1, 1, 1), 8192, 256, 2, false, 6514},
      {titan, "Llama 3.1 70B, 256 GPUs, tp 8", llama70b(), 256, mesh(1, 1, 8), 8192, 512, 16, false, 597},
      {paper, "405B, 8192 GPUs, tp 8, pp 16", llama405b(), 8192, mesh(16, 1, 8), 8192, 2048, 1, false,
       from_tflops(llama405b(), 8192, 430)},
      {paper, "405B, 16384 GPUs, tp 8, pp 16", llama405b(), 16384, mesh(16, 1, 8), 8192, 2048, 1, false,
       from_tflops(llama405b(), 8192, 400)},
      {paper, "405B, 16384 GPUs, tp 8, cp 16, pp 16", llama405b(), 16384, mesh(16, 16, 8), 131072, 128, 1,
       false, from_tflops(llama405b(), 131072, 380)},
  };
}

struct Estimate {
  double tokens_per_gpu;
  double mfu;
  double exposed;
  double bubble;
  double memory;
  Recompute recompute;
};

Estimate estimate(const Row& row, const Cluster& cluster, Recompute recompute) {
  TrainerOptions options;
  options.recompute = recompute;
  // Whole gradients of a large model are kept only by a pipeline, whose ranks have a part of it.
  options.defer_gradient_sync = row.mesh.pp > 1;
  options.sequence_parallel = row.mesh.tp > 1;
  if (row.mesh.pp > 1) {
    options.pipeline.schedule = PipelineSchedule::interleaved;
    options.pipeline.per_rank = 8;
    options.context.exchange = ContextExchange::all_gather;
  }
  const Mesh layout(row.mesh, row.world);
  StepShape shape = step_shape(layout, row.global_batch, row.micro_batch, row.seq_len);
  shape.shared_memory = false;
  shape.on_device = true;
  const TrainingPlan plan = plan_training(row.model, options, layout, shape);
  const StepTime time = time_plan(plan, row.model, options, cluster);
  double tokens = time.tokens_per_second;
  const MemoryEstimate& parts = plan.memory;
  auto memory = static_cast<double>(parts.peak);
  if (row.frozen) {
    memory -= static_cast<double>(parts.masters + parts.optimizer + parts.gradients + parts.buffers);
    const CostModel cost(cluster, false);
    PlanTimes times = plan_times(plan, row.model, options, cost);
    for (UnitTimes& unit : times.units) unit.weight = {};
    for (double& reduce : times.reduces) reduce = 0;
    for (double& update : times.optimizer) update = 0;
    TimelineOptions walk;
    walk.events = false;
    tokens *= time.seconds / make_timeline(plan.programs, plan_cost(times), walk).length;
  }
  return {tokens / row.world, time.mfu, time.exposed, time.bubble, memory, recompute};
}

// Publishers seldom say what they recompute: as little as fits is one end, all the other.
Estimate estimate(const Row& row, const Cluster& cluster) {
  const double room = cluster.memory_bytes * (1 - cluster.reserved_fraction);
  for (const Recompute recompute : {Recompute::none, Recompute::selective}) {
    const Estimate e = estimate(row, cluster, recompute);
    if (e.memory <= room) return e;
  }
  return estimate(row, cluster, Recompute::full);
}

const char* name_of(Recompute recompute) {
  return recompute == Recompute::none ? "none" : recompute == Recompute::selective ? "selective" : "full";
}

}  // namespace

int main(int argc, char** argv) try {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const Cluster cluster = find_cluster("h100-8x-ib");
  if (!json) {
    std::printf(
        "| source | job | published | simulated, recompute | error | all recomputed | error | exposed "
        "| bubble | memory |\n");
    std::printf("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  }
  for (const Row& row : rows()) {
    const Estimate e = estimate(row, cluster);
    const Estimate full = estimate(row, cluster, Recompute::full);
    const double error = e.tokens_per_gpu / row.published - 1;
    const double full_error = full.tokens_per_gpu / row.published - 1;
    if (json) {
      std::printf(
          "{\"bench\": \"published\", \"source\": \"%s\", \"job\": \"%s\", \"published\": %.2f, "
          "\"recompute\": \"%s\", \"simulated\": %.2f, \"error\": %.4f, \"full_recompute\": %.2f, "
          "\"full_recompute_error\": %.4f}\n",
          row.source, row.job, row.published, name_of(e.recompute), e.tokens_per_gpu, error,
          full.tokens_per_gpu, full_error);
    } else {
      std::printf(
          "| %s | %s | %.0f | %.0f, %s | %+.0f %% | %.0f | %+.0f %% | %.0f %% | %.0f %% | %.0f GB |\n",
          row.source, row.job, row.published, e.tokens_per_gpu, name_of(e.recompute), 100 * error,
          full.tokens_per_gpu, 100 * full_error, 100 * e.exposed, 100 * e.bubble, e.memory / 1e9);
    }
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "published_bench: %s\n", error.what());
  return 1;
}
