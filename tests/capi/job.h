// A small job for the tests: rank threads, a mesh and a tiny model made from a config.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tessera/tessera.h"

namespace job {

inline const char* const kConfigJson = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
  "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
  "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2})";

#define ASSERT_OK(call)                                               \
  do {                                                                \
    tessera_error ok_error{};                                         \
    tessera_error* const err = &ok_error;                             \
    ASSERT_EQ(call, TESSERA_OK) << #call << ": " << ok_error.message; \
  } while (0)

inline tessera_config config(const std::vector<std::pair<std::string, std::string>>& values = {}) {
  tessera_config made{};
  EXPECT_EQ(tessera_config_create(&made, nullptr), TESSERA_OK);
  tessera_error err;
  EXPECT_EQ(tessera_config_set(made, "precision.param", "fp32", nullptr), TESSERA_OK);
  for (const auto& [key, value] : values) {
    EXPECT_EQ(tessera_config_set(made, key.c_str(), value.c_str(), &err), TESSERA_OK) << err.message;
  }
  return made;
}

inline tessera_model model() {
  tessera_model made{};
  tessera_error err;
  EXPECT_EQ(tessera_model_create(kConfigJson, &made, &err), TESSERA_OK) << err.message;
  return made;
}

/// One micro-batch of two documents, different for each rank and step.
inline tessera_batch batch(int rank, int step) {
  std::vector<int64_t> tokens;
  for (int i = 0; i < 12; ++i) tokens.push_back((i * 7 + rank * 5 + step * 3) % 64);
  const int64_t lengths[] = {7, 5};
  tessera_batch made{};
  tessera_error err;
  EXPECT_EQ(tessera_batch_create(&made, nullptr), TESSERA_OK);
  EXPECT_EQ(tessera_batch_push(made, tokens.data(), nullptr, 12, lengths, 2, &err), TESSERA_OK)
      << err.message;
  return made;
}

/// Ranks that compute with one thread each: tests that run side by side do not get in each other's way.
inline const tessera_world_options* one_thread_each() {
  static const tessera_world_options options = [] {
    tessera_world_options made;
    tessera_world_options_init(&made, sizeof made);
    made.intra_op_threads = 1;
    return made;
  }();
  return &options;
}

/// Runs `body(rank, world)` on one thread per rank and destroys the worlds.
inline void run(int size, const std::function<void(int, tessera_world)>& body,
                const tessera_world_options* options = one_thread_each()) {
  std::vector<tessera_world> worlds(static_cast<size_t>(size));
  tessera_error err;
  ASSERT_EQ(tessera_world_create_threads(size, options, worlds.data(), &err), TESSERA_OK) << err.message;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { body(rank, worlds[static_cast<size_t>(rank)]); });
  }
  for (auto& thread : threads) thread.join();
  for (const tessera_world world : worlds) EXPECT_EQ(tessera_world_destroy(world), TESSERA_OK);
}

/// The elements of a float32 tensor.
inline std::vector<float> floats(tessera_tensor tensor) {
  size_t bytes = 0;
  EXPECT_EQ(tessera_tensor_get_data(tensor, nullptr, 0, &bytes, nullptr), TESSERA_E_BUFFER);
  std::vector<float> out(bytes / sizeof(float));
  EXPECT_EQ(tessera_tensor_get_data(tensor, out.data(), bytes, &bytes, nullptr), TESSERA_OK);
  return out;
}

inline int64_t live_handles() {
  int64_t count = -1;
  EXPECT_EQ(tessera_handle_count(TESSERA_KIND_ANY, &count, nullptr), TESSERA_OK);
  return count;
}

}  // namespace job
