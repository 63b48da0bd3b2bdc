// tessera: trains, evaluates, samples and plans from a recipe, through the C ABI only.
#include <cstdio>
#include <cstring>
#include <string>

#include "commands.h"
#include "handle.h"

namespace {

constexpr const char* kUsage = R"(usage: tessera COMMAND [RECIPE.yaml] [key=value ...] [--option ...]

commands
  train      train a model; writes checkpoints and a Hugging Face directory to output.dir
  eval       loss and perplexity of a model on data
  generate   continue prompts: --prompt TEXT (repeatable), --chat to ask through the chat template,
             --tokens 1,2,3, or --file ROWS.jsonl to answer its prompts and count exact matches; --quiet
  pack       how well the documents go into rows of data.seq_len tokens, with each packer
  plan       mesh, units, program and memory per rank, before anything is loaded: --world N, --program;
             --timeline draws the schedule, --timeline-svg FILE and --timeline-trace FILE write it (Perfetto), with
             --timeline-backward 2 --timeline-collective 0 --timeline-transfer 0: costs beside a stage's forward;
             with world=1024 cluster=h100-8x-ib (or here, to measure this machine) the fastest meshes that fit, of
             plan.top=10; --json writes them with their keys, --summary adds the recipe's own mesh and its time
  config     all keys with types, defaults and bounds; with a recipe, the settings it makes
  version    the version and what the library was built with

Keys are dotted, as in optimizer.lr=3e-4; a recipe is YAML of nested maps with the same names. With ranks=N the program
runs N ranks as threads; without it it takes its place in the world of torchrun, mpirun or srun.
)";

int version() {
  std::printf("tessera %s\n%s", tessera_version_string(),
              cli::read_text([](char* buf, size_t cap, size_t* len, tessera_error* err) {
                return tessera_build_info(buf, cap, len, err);
              }).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "help";
  const cli::Words words(argv + (argc > 1 ? 2 : 1), argv + argc);
  try {
    if (command == "train") return cli::train(words), 0;
    if (command == "eval") return cli::evaluate(words), 0;
    if (command == "generate") return cli::generate(words), 0;
    if (command == "pack") return cli::pack(words), 0;
    if (command == "plan") return cli::plan(words), 0;
    if (command == "config") return cli::show_config(words), 0;
    if (command == "version" || command == "--version") return version();
    if (command == "help" || command == "--help" || command == "-h") return std::fputs(kUsage, stdout), 0;
    std::fprintf(stderr, "tessera: unknown command %s\n%s", command.c_str(), kUsage);
    return 2;
  } catch (const std::exception& failure) {
    std::fflush(stdout);
    std::fprintf(stderr, "tessera %s: %s\n", command.c_str(), failure.what());
    return 1;
  }
}
