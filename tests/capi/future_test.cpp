// Futures of the C ABI: results, calls on what is busy, cancelling, destroying.
#include "one_rank.h"

#include <cstring>

namespace {

using job::OneRank;

TEST_F(OneRank, FuturesGiveResultsErrorsAndHandOverOnce) {
  tessera_future future;
  ASSERT_OK(tessera_trainer_step_async(trainer_, batch_, &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  int32_t done = 0;
  ASSERT_OK(tessera_future_poll(future, &done, err));
  EXPECT_EQ(done, 1);
  ASSERT_OK(tessera_future_get_result(future, err));
  ASSERT_OK(tessera_future_get_metrics(future, &metrics_, err));
  EXPECT_EQ(metrics_.step, 1);
  tessera_error error;
  tessera_tensor tensor;
  EXPECT_EQ(tessera_future_get_tensor(future, &tensor, &error), TESSERA_E_STATE);
  tessera_future_destroy(future);

  ASSERT_OK(tessera_trainer_get_parameter_async(trainer_, "lm_head.weight", &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  ASSERT_OK(tessera_future_get_tensor(future, &tensor, err));
  tessera_tensor_destroy(tensor);
  EXPECT_EQ(tessera_future_get_tensor(future, &tensor, &error), TESSERA_E_STATE);
  tessera_future_destroy(future);

  ASSERT_OK(tessera_trainer_get_parameter_async(trainer_, "no.such", &future, err));
  ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
  EXPECT_EQ(tessera_future_get_result(future, &error), TESSERA_E_NOT_FOUND);
  EXPECT_NE(std::strstr(error.message, "no.such"), nullptr) << error.message;
  tessera_future_destroy(future);
}

/// Two ranks and their meshes, driven from one thread by the asynchronous calls.
class TwoRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(tessera_world_create_threads(2, job::one_thread_each(), worlds_, err));
    tessera_future made[2];
    for (int r = 0; r < 2; ++r) ASSERT_OK(tessera_mesh_create_async(worlds_[r], nullptr, &made[r], err));
    for (int r = 0; r < 2; ++r) {
      ASSERT_OK(tessera_future_wait(made[r], TESSERA_FOREVER, err));
      ASSERT_OK(tessera_future_get_mesh(made[r], &meshes_[r], err));
      tessera_future_destroy(made[r]);
    }
  }
  void TearDown() override {
    for (int r = 0; r < 2; ++r) {
      tessera_mesh_destroy(meshes_[r]);
      tessera_world_destroy(worlds_[r]);
    }
  }

  tessera_world worlds_[2] = {};
  tessera_mesh meshes_[2] = {};
};

TEST_F(TwoRanks, ASecondCallOnABusyObjectIsRefused) {
  tessera_future first;
  ASSERT_OK(tessera_mesh_barrier_async(meshes_[0], "dp", &first, err));
  tessera_error error;
  EXPECT_EQ(tessera_mesh_barrier(meshes_[0], "dp", &error), TESSERA_E_BUSY);
  int32_t done = 1;
  ASSERT_OK(tessera_future_poll(first, &done, err));
  EXPECT_EQ(done, 0);
  EXPECT_EQ(tessera_future_wait(first, 1000000, &error), TESSERA_E_TIMEOUT);
  EXPECT_EQ(tessera_future_get_result(first, &error), TESSERA_E_STATE);
  tessera_future both[2] = {first, {}};
  ASSERT_OK(tessera_mesh_barrier_async(meshes_[1], "dp", &both[1], err));
  int64_t index = -1;
  ASSERT_OK(tessera_future_wait_any(both, 2, TESSERA_FOREVER, &index, err));
  EXPECT_TRUE(index == 0 || index == 1);
  for (const tessera_future future : both) {
    ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
    ASSERT_OK(tessera_future_get_result(future, err));
    tessera_future_destroy(future);
  }
}

TEST_F(TwoRanks, WorkThatHasNotBegunCanBeCancelled) {
  // Rank 0 waits for rank 1, so what follows it on rank 0's thread is still queued.
  tessera_future waiting;
  ASSERT_OK(tessera_mesh_barrier_async(meshes_[0], "dp", &waiting, err));
  while (true) {  // until it has begun: only then can it not be cancelled
    tessera_error error;
    if (tessera_future_wait(waiting, 20000000, &error) == TESSERA_E_TIMEOUT) break;
  }
  tessera_future queued;
  ASSERT_OK(tessera_mesh_create_async(worlds_[0], nullptr, &queued, err));
  ASSERT_OK(tessera_future_cancel(queued, err));
  ASSERT_OK(tessera_future_cancel(waiting, err));
  tessera_error error;
  EXPECT_EQ(tessera_future_get_result(queued, &error), TESSERA_E_CANCELLED);
  EXPECT_EQ(tessera_future_get_result(waiting, &error), TESSERA_E_STATE);
  tessera_future_destroy(queued);
  // The world is free again at once, though its thread is still busy.
  ASSERT_OK(tessera_mesh_create_async(worlds_[0], nullptr, &queued, err));
  ASSERT_OK(tessera_future_cancel(queued, err));
  tessera_future_destroy(queued);

  ASSERT_OK(tessera_world_abort(worlds_[1], "the test says so", err));
  ASSERT_OK(tessera_future_wait(waiting, TESSERA_FOREVER, err));
  EXPECT_EQ(tessera_future_get_result(waiting, &error), TESSERA_E_PEER_FAILED) << error.message;
  EXPECT_EQ(error.rank, 1);
  tessera_future_destroy(waiting);
}

TEST(Job, DestroyWhileAStepRunsIsSafe) {
  const int64_t before = job::live_handles();
  for (int round = 0; round < 20; ++round) {
    tessera_world world;
    ASSERT_OK(tessera_world_create_threads(1, job::one_thread_each(), &world, err));
    tessera_mesh mesh;
    ASSERT_OK(tessera_mesh_create(world, nullptr, &mesh, err));
    const tessera_model model = job::model();
    const tessera_config config = job::config();
    tessera_trainer trainer;
    ASSERT_OK(tessera_trainer_create(mesh, model, config, &trainer, err));
    const tessera_batch batch = job::batch(0, round);
    tessera_future future;
    ASSERT_OK(tessera_trainer_step_async(trainer, batch, &future, err));
    // In an order that is wrong on purpose.
    tessera_world_destroy(world);
    tessera_batch_destroy(batch);
    tessera_trainer_destroy(trainer);
    tessera_mesh_destroy(mesh);
    tessera_config_destroy(config);
    tessera_model_destroy(model);
    ASSERT_OK(tessera_future_wait(future, TESSERA_FOREVER, err));
    ASSERT_OK(tessera_future_get_result(future, err));
    tessera_future_destroy(future);
  }
  EXPECT_EQ(job::live_handles(), before);
}

}  // namespace
