// Times saving and loading of a training checkpoint on rank threads: the Tessera half of checkpoint_bench.sh.
// Usage: checkpoint_bench save|load|export DIRECTORY RANKS [REPEATS]. Prints seconds of each repetition, one
// a line.
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/export.h"
#include "checkpoint/training_checkpoint.h"
#include "comm/world.h"
#include "support/rank_threads.h"

namespace tessera {
namespace {

// A Llama shape of 44M parameters; with AdamW's two moments in float32 the state has 527 MB.
std::vector<std::pair<std::string, std::vector<int64_t>>> parameters() {
  std::vector<std::pair<std::string, std::vector<int64_t>>> out{{"model.embed_tokens.weight", {8000, 768}}};
  for (int layer = 0; layer < 6; ++layer) {
    const std::string prefix = cat("model.layers.", layer, ".");
    out.push_back({prefix + "self_attn.q_proj.weight", {768, 768}});
    out.push_back({prefix + "self_attn.k_proj.weight", {256, 768}});
    out.push_back({prefix + "self_attn.v_proj.weight", {256, 768}});
    out.push_back({prefix + "self_attn.o_proj.weight", {768, 768}});
    out.push_back({prefix + "mlp.gate_proj.weight", {2048, 768}});
    out.push_back({prefix + "mlp.up_proj.weight", {2048, 768}});
    out.push_back({prefix + "mlp.down_proj.weight", {768, 2048}});
    out.push_back({prefix + "input_layernorm.weight", {768}});
    out.push_back({prefix + "post_attention_layernorm.weight", {768}});
  }
  out.push_back({"model.norm.weight", {768}});
  return out;
}

std::vector<ShardedTensor> state(int rank, int ranks, bool optimizer) {
  std::vector<ShardedTensor> out;
  for (const std::string kind : {"model.", "optimizer.exp_avg.", "optimizer.exp_avg_sq."}) {
    if (!optimizer && kind != "model.") continue;
    for (const auto& [name, shape] : parameters()) {
      ParamSpec spec;
      spec.shape = shape;
      const Box box = owned_box(spec, 0, 1, rank, ranks);
      out.push_back({optimizer ? kind + name : name, shape, box, at::randn(box.size)});
    }
  }
  return out;
}

int run(const std::string& action, const std::string& directory, int ranks, int repeats) {
  testing::run_ranks(ranks, [&](const WorldPtr& world) {
    const GroupPtr group = world->everyone();
    const auto mine = state(world->rank(), ranks, action != "export");
    for (int i = 0; i < repeats; ++i) {
      group->barrier();
      const auto start = std::chrono::steady_clock::now();
      if (action == "save") save_checkpoint(directory, mine, R"({"step":1})", *group);
      if (action == "load") load_checkpoint(directory, mine, *group);
      if (action == "export") {
        ExportOptions options;
        options.dtype = at::kBFloat16;
        export_hf(directory, mine, options, *group);
      }
      group->barrier();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      if (world->rank() == 0) std::printf("%.4f\n", seconds.count());
    }
  });
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s save|load|export DIRECTORY RANKS [REPEATS]\n", argv[0]);
    return 2;
  }
  try {
    return tessera::run(argv[1], argv[2], std::atoi(argv[3]), argc > 4 ? std::atoi(argv[4]) : 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
