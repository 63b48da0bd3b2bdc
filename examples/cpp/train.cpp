// train.cpp - fine-tunes a model on a mesh, from C++ (C++11 and later).
//
//   train recipe.yaml key=value...
//
// ranks=4: four rank threads in this process. No `ranks`: one rank of a launcher (torchrun, mpirun, srun), or
// alone. Rank 0 prints `loss STEP VALUE`. With output.dir the run ends with a checkpoint and a Hugging Face
// directory; output.resume=true goes on from that checkpoint. The same program in other languages:
// docs/languages.md.
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <tessera/tessera.hpp>

/// A model starts from a checkpoint (model.path), or from the config.json named by model.config with random
/// weights.
static tessera::Model open_model(const tessera::Config& config) {
  if (config.text("model.config").empty()) return tessera::Model::open(config.text("model.path"));
  std::ifstream file(config.text("model.config"));
  std::stringstream json;
  json << file.rdbuf();
  return tessera::Model::create(json.str());
}

/// One rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory.
static void run_rank(tessera::World& world, const tessera::Config& config) {
  tessera::Mesh mesh(world, tessera::MeshOptions(config));
  tessera::Model model = open_model(config);
  tessera::Trainer trainer(mesh, model, &config);
  tessera::Dataset data(config, &mesh, &model);
  const std::string output = config.text("output.dir"), steps_text = config.text("train.steps");
  const long long steps = steps_text.empty() ? 0 : std::stoll(steps_text);

  if (config.text("output.resume") == "true") trainer.load(output + "/checkpoint", &data);
  while (steps == 0 || trainer.step_count() < steps) {
    tessera::Batch batch = data.next();
    if (!batch) break;  // no more data
    const tessera::Metrics metrics = trainer.step(batch);
    if (world.rank() == 0) std::printf("loss %" PRId64 " %.17g\n", metrics.step, metrics.loss);
  }
  if (output.empty()) return;
  trainer.save(output + "/checkpoint", &data);
  trainer.export_model(output);
}

int main(int argc, char** argv) try {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a reader of a pipe sees each step at once
  tessera::Config config;
  for (int i = 1; i < argc; ++i) {  // a recipe, then key=value pairs that override it
    const std::string word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos)
      config.load(word);
    else
      config.set(word.substr(0, equals), word.substr(equals + 1));
  }
  const tessera::WorldOptions options(config);
  const std::string ranks = config.text("ranks");
  if (!ranks.empty()) {
    tessera::run_ranks(std::stoi(ranks), options, [&](tessera::World& world) { run_rank(world, config); });
  } else {
    tessera::World world = tessera::World::from_environment(options);
    run_rank(world, config);
    world.close();
  }
  return 0;
} catch (const tessera::Error& error) {
  std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
