// Jobs of several ranks through the C ABI, as threads.
#include "job.h"

#include <cstring>

namespace {

using job::floats;

TEST(Job, CollectivesOfTheHostFollowTheAxes) {
  job::run(4, [](int rank, tessera_world world) {
    tessera_mesh_options options;
    tessera_mesh_options_init(&options, sizeof options);
    options.dp_replicate = 2;
    tessera_mesh mesh;
    ASSERT_OK(tessera_mesh_create(world, &options, &mesh, err));
    int64_t size = 0;
    ASSERT_OK(tessera_mesh_get_size(mesh, "dp", &size, err));
    EXPECT_EQ(size, 4);
    int32_t ranks[4];
    size_t count = 0;
    ASSERT_OK(tessera_mesh_get_ranks(mesh, "dp_replicate", ranks, 4, &count, err));
    EXPECT_EQ(std::vector<int32_t>(ranks, ranks + count), (std::vector<int32_t>{rank % 2, rank % 2 + 2}));

    float memory[] = {float(rank), 1};
    const int64_t dims[] = {2};
    tessera_tensor view;
    ASSERT_OK(tessera_tensor_create_view(TESSERA_DTYPE_F32, dims, 1, memory, sizeof memory, &view, err));
    ASSERT_OK(tessera_mesh_all_reduce(mesh, "dp", view, TESSERA_REDUCE_SUM, err));
    EXPECT_EQ(memory[0], 6);
    EXPECT_EQ(memory[1], 4);
    memory[0] = float(rank);
    ASSERT_OK(tessera_mesh_broadcast(mesh, "dp_shard", view, 1, err));
    EXPECT_EQ(memory[0], rank < 2 ? 1 : 3);

    const int64_t whole_dims[] = {4, 2};
    tessera_tensor whole;
    ASSERT_OK(tessera_tensor_create(TESSERA_DTYPE_F32, whole_dims, 2, nullptr, 0, &whole, err));
    memory[0] = float(rank);
    ASSERT_OK(tessera_mesh_all_gather(mesh, "dp", view, whole, err));
    const std::vector<float> gathered = floats(whole);
    for (int r = 0; r < 4; ++r) EXPECT_EQ(gathered[2 * r], r);
    ASSERT_OK(tessera_mesh_reduce_scatter(mesh, "dp", whole, view, TESSERA_REDUCE_AVG, err));
    EXPECT_EQ(memory[0], rank);
    tessera_tensor other;
    ASSERT_OK(tessera_tensor_create(TESSERA_DTYPE_F32, whole_dims, 2, nullptr, 0, &other, err));
    ASSERT_OK(tessera_mesh_all_to_all(mesh, "dp", whole, other, err));
    EXPECT_EQ(floats(other)[6], rank);
    ASSERT_OK(tessera_mesh_barrier(mesh, "dp", err));

    tessera_error error;
    EXPECT_EQ(tessera_mesh_all_gather(mesh, "dp_shard", view, whole, &error), TESSERA_E_ARGUMENT);
    EXPECT_STREQ(error.message, "output has 8 elements instead of 2 times the 2 of input");
    EXPECT_EQ(tessera_mesh_barrier(mesh, "dq", &error), TESSERA_E_ARGUMENT) << error.message;
    EXPECT_EQ(tessera_mesh_broadcast(mesh, "dp", view, 4, &error), TESSERA_E_ARGUMENT);
    tessera_tensor_destroy(view);
    tessera_tensor_destroy(whole);
    tessera_tensor_destroy(other);
    tessera_mesh_destroy(mesh);
    ASSERT_OK(tessera_world_close(world, err));
  });
}

TEST(Job, AMeshThatDoesNotFitIsRefusedByAllRanks) {
  job::run(4, [](int, tessera_world world) {
    tessera_mesh_options options;
    tessera_mesh_options_init(&options, sizeof options);
    options.tp = 3;
    tessera_mesh mesh{77};
    tessera_error error;
    EXPECT_EQ(tessera_mesh_create(world, &options, &mesh, &error), TESSERA_E_ARGUMENT);
    EXPECT_EQ(mesh.id, 77U);
    EXPECT_NE(std::strstr(error.message, "3"), nullptr) << error.message;
  });
}

struct Trained {
  std::vector<double> losses;
  std::vector<float> weights;
};

/// Two steps on `size` ranks; every rank sees all four batches of the step when size is 1.
Trained train(int size) {
  Trained result;
  job::run(size, [&](int rank, tessera_world world) {
    tessera_mesh mesh;
    ASSERT_OK(tessera_mesh_create(world, nullptr, &mesh, err));
    const tessera_model model = job::model();
    const tessera_config config = job::config({{"train.seed", "3"}, {"optimizer.lr", "0.01"}});
    tessera_trainer trainer;
    ASSERT_OK(tessera_trainer_create(mesh, model, config, &trainer, err));
    // Whatever the host lets go early, the trainer keeps.
    tessera_mesh_destroy(mesh);
    tessera_model_destroy(model);
    tessera_config_destroy(config);
    for (int step = 0; step < 3; ++step) {
      tessera_batch batch;
      ASSERT_OK(tessera_batch_create(&batch, err));
      for (int part = rank * 4 / size; part < (rank + 1) * 4 / size; ++part) {
        std::vector<int64_t> tokens;
        for (int i = 0; i < 12; ++i) tokens.push_back((i * 7 + part * 5 + step * 3) % 64);
        const int64_t lengths[] = {7, 5};
        ASSERT_OK(tessera_batch_push(batch, tokens.data(), nullptr, 12, lengths, 2, err));
      }
      tessera_metrics metrics;
      tessera_metrics_init(&metrics, sizeof metrics);
      ASSERT_OK(tessera_trainer_step(trainer, batch, &metrics, err));
      EXPECT_EQ(metrics.step, step + 1);
      EXPECT_EQ(metrics.label_tokens, 4 * 10);
      EXPECT_GT(metrics.grad_norm, 0);
      if (rank == 0) result.losses.push_back(metrics.loss);
      tessera_batch_destroy(batch);
    }
    tessera_tensor weight;
    ASSERT_OK(tessera_trainer_get_parameter(trainer, "model.layers.1.mlp.down_proj.weight", &weight, err));
    if (rank == 0) result.weights = floats(weight);
    tessera_tensor_destroy(weight);
    tessera_trainer_destroy(trainer);
  });
  return result;
}

TEST(Job, FourRanksTrainLikeOneAndLeaveNothingBehind) {
  const int64_t before = job::live_handles();
  const Trained one = train(1);
  const Trained four = train(4);
  ASSERT_EQ(one.losses.size(), 3U);
  ASSERT_EQ(four.losses.size(), 3U);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(one.losses[i], four.losses[i], 1e-5 * one.losses[i]);
  ASSERT_EQ(one.weights.size(), four.weights.size());
  for (size_t i = 0; i < one.weights.size(); ++i) EXPECT_NEAR(one.weights[i], four.weights[i], 2e-3);
  EXPECT_LT(one.losses[0], 6);
  EXPECT_EQ(job::live_handles(), before);
}

}  // namespace
