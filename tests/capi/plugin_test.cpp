// Architectures from a plugin, through the C ABI.
#include <cstring>

#include "job.h"

namespace {

constexpr const char* kOwnJson = R"({"architectures": ["OwnForCausalLM"], "vocab_size": 64, "hidden_size": 32,
  "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "own_kv_heads": 2})";

// Losses of three steps over `tp` rank threads.
std::vector<double> losses(int tp) {
  std::vector<double> found;
  job::run(tp, [&](int rank, tessera_world world) {
    tessera_mesh_options options{};
    tessera_mesh_options_init(&options, sizeof options);
    options.tp = tp;
    tessera_mesh mesh{};
    ASSERT_OK(tessera_mesh_create(world, &options, &mesh, err));
    tessera_model model{};
    ASSERT_OK(tessera_model_create_plugin(kOwnJson, TESSERA_TEST_PLUGIN, &model, err));
    tessera_trainer trainer{};
    ASSERT_OK(tessera_trainer_create(mesh, model, job::config(), &trainer, err));
    for (int step = 0; step < 3; ++step) {
      tessera_metrics metrics;
      tessera_metrics_init(&metrics, sizeof metrics);
      ASSERT_OK(tessera_trainer_step(trainer, job::batch(0, step), &metrics, err));
      if (rank == 0) found.push_back(metrics.loss);
    }
  });
  return found;
}

TEST(Plugin, TrainsOnAMeshAsOnOneRank) {
  const std::vector<double> one = losses(1);
  const std::vector<double> two = losses(2);
  ASSERT_EQ(one.size(), 3U);
  ASSERT_EQ(two.size(), 3U);
  for (size_t step = 0; step < 3; ++step) EXPECT_NEAR(one[step], two[step], 1e-5);
}

TEST(Plugin, ItsStrategyIsInThePlanAndItsErrorsArriveAsOurs) {
  tessera_error err{};
  tessera_model model{};
  ASSERT_OK(tessera_model_create_plugin(kOwnJson, TESSERA_TEST_PLUGIN, &model, err));
  char text[8192];
  size_t length = 0;
  ASSERT_OK(tessera_plan_get_text(model, job::config({{"parallel.tp", "2"}}), 2, TESSERA_PLAN_SUMMARY, text,
                                  sizeof text, &length, err));
  EXPECT_NE(std::strstr(text, "tensor parallel plan: architecture OwnForCausalLM"), nullptr) << text;
  const char* query = std::strstr(text, "self_attn.q_proj");
  ASSERT_NE(query, nullptr);
  EXPECT_NE(std::string(query, 60).find("replicate"), std::string::npos) << text;
  EXPECT_EQ(tessera_plan_get_text(model, job::config({{"parallel.tp", "4"}}), 4, TESSERA_PLAN_SUMMARY, text,
                                  sizeof text, &length, &err),
            TESSERA_E_ARGUMENT);
  EXPECT_STREQ(err.message, "tp=4 is more than an OwnForCausalLM takes");
}

TEST(Plugin, WhatIsNoneIsRefused) {
  tessera_error err{};
  tessera_model model{};
  EXPECT_EQ(tessera_model_create(kOwnJson, &model, &err), TESSERA_E_UNSUPPORTED) << "without the plugin";
  EXPECT_EQ(tessera_model_create_plugin(kOwnJson, "no/such.so", &model, &err), TESSERA_E_NOT_FOUND);
  EXPECT_EQ(tessera_model_create_plugin(kOwnJson, "/proc/self/cmdline", &model, &err), TESSERA_E_IO)
      << err.message;
  EXPECT_EQ(tessera_model_open_plugin("no/such/folder", TESSERA_TEST_PLUGIN, &model, &err),
            TESSERA_E_NOT_FOUND);
  EXPECT_EQ(tessera_model_create_plugin(kOwnJson, TESSERA_TEST_LIBRARY, &model, &err), TESSERA_E_UNSUPPORTED);
  EXPECT_NE(std::strstr(err.message, "does not export tessera_model_plugin"), nullptr) << err.message;
}

}  // namespace
