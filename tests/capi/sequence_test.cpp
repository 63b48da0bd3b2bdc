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

}  // namespace
