// Orders of calls that once did harm, found by calling at random (random/main.cpp).
#include "job.h"

namespace {

TEST(Sequence, DocumentsAreRefusedAfterAnEndThatFailed) {
  const tessera_config config = job::config({{"data.validation_split", "5"}});
  tessera_dataset dataset{};
  ASSERT_OK(tessera_dataset_create(config, tessera_mesh{0}, tessera_model{0}, &dataset, err));
  const int64_t tokens[] = {1, 2, 3};
  ASSERT_OK(tessera_dataset_push(dataset, tokens, nullptr, 3, err));
  tessera_error err;
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(tessera_dataset_push_end(dataset, &err), TESSERA_E_ARGUMENT) << err.message;
    EXPECT_EQ(tessera_dataset_push(dataset, tokens, nullptr, 3, &err), TESSERA_E_STATE) << err.message;
    tessera_batch batch{};
    EXPECT_EQ(tessera_dataset_next(dataset, &batch, &err), TESSERA_E_STATE) << err.message;
  }
  EXPECT_EQ(tessera_dataset_destroy(dataset), TESSERA_OK);
  EXPECT_EQ(tessera_config_destroy(config), TESSERA_OK);
}

TEST(Sequence, ACancelledLoadLetsGoOfItsDataset) {
  const tessera_config config = job::config({{"train.global_batch", "2"}});
  const tessera_model model = job::model();
  tessera_future waits{};
  job::run(2, [&](int rank, tessera_world world) {
    tessera_mesh mesh{};
    ASSERT_OK(tessera_mesh_create(world, nullptr, &mesh, err));
    tessera_trainer trainer{};
    ASSERT_OK(tessera_trainer_create(mesh, model, config, &trainer, err));
    if (rank == 0) {
      tessera_dataset dataset{};
      ASSERT_OK(tessera_dataset_create(config, mesh, model, &dataset, err));
      const int64_t tokens[] = {1, 2, 3};
      for (int i = 0; i < 4; ++i) ASSERT_OK(tessera_dataset_push(dataset, tokens, nullptr, 3, err));
      ASSERT_OK(tessera_dataset_push_end(dataset, err));
      // The rank's thread is busy, so that the load has not begun when it is cancelled.
      ASSERT_OK(tessera_mesh_barrier_async(mesh, "world", &waits, err));
      tessera_future load{};
      ASSERT_OK(tessera_checkpoint_load_async(trainer, "nothing", dataset, &load, err));
      int64_t steps = 0;
      EXPECT_EQ(tessera_dataset_count_steps(dataset, &steps, nullptr), TESSERA_E_BUSY);
      ASSERT_OK(tessera_future_cancel(load, err));
      ASSERT_OK(tessera_dataset_count_steps(dataset, &steps, err));
      tessera_future_destroy(load);
      tessera_dataset_destroy(dataset);
      tessera_world_abort(world, "over", nullptr);
      ASSERT_OK(tessera_future_wait(waits, TESSERA_FOREVER, err));
      tessera_future_destroy(waits);
    }
    tessera_trainer_destroy(trainer);
    tessera_mesh_destroy(mesh);
  });
  EXPECT_EQ(tessera_model_destroy(model), TESSERA_OK);
  EXPECT_EQ(tessera_config_destroy(config), TESSERA_OK);
}

}  // namespace
