// A text goes on greedily as it does in transformers, on one rank and on a mesh.
#include <gtest/gtest.h>

#include "mesh/device_mesh.h"
#include "parity/reference.h"
#include "support/rank_threads.h"
#include "train/trainer.h"

namespace tessera::testing {
namespace {

std::vector<int64_t> values(const at::Tensor& tensor) {
  const int64_t* data = tensor.const_data_ptr<int64_t>();
  return {data, data + tensor.numel()};
}

std::vector<int64_t> generated_on(const Reference& reference, const MeshSpec& spec, int ranks) {
  const std::vector<int64_t> prompt = values(reference.tensor("prompt"));
  const auto length = static_cast<int64_t>(reference.tensor("generated").numel());
  std::vector<int64_t> tokens;
  run_ranks(ranks, [&](const WorldPtr& world) {
    TrainerOptions options;
    options.precision = {at::kFloat, at::kFloat, at::kFloat, at::kFloat};
    Trainer trainer(std::make_shared<DeviceMesh>(world, spec), reference.config(), reference.directory(),
                    options);
    GenerateOptions greedy;
    greedy.max_new_tokens = length;
    const std::vector<int64_t> mine = trainer.generate(prompt, greedy);
    if (world->rank() == 0) tokens = mine;
  });
  return tokens;
}

TEST(ParityTest, GreedyTextsAreThoseOfTransformers) {
  for_each_case([](const Reference& reference) {
    const std::vector<int64_t> expected = values(reference.tensor("generated"));
    ASSERT_FALSE(expected.empty());
    EXPECT_EQ(generated_on(reference, {}, 1), expected);
    EXPECT_EQ(generated_on(reference, {1, 1, 2, 1, 1, 1}, 2), expected);
    const ModelConfig& config = reference.config();
    const bool splits =
        config.num_heads % 2 == 0 && (config.num_kv_heads % 2 == 0 || config.num_kv_heads == 1);
    if (splits && config.moe.experts == 0) {
      EXPECT_EQ(generated_on(reference, {1, 1, 1, 2, 2, 1}, 4), expected);
    }
  });
}

}  // namespace
}  // namespace tessera::testing
