// A trainer on one rank through the C ABI, for calls where other ranks do not matter.
#pragma once

#include <filesystem>

#include "job.h"

namespace job {

/// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera_capi_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A trainer on one rank, for calls where other ranks do not matter.
class OneRank : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = job::live_handles();
    ASSERT_OK(tessera_world_create_threads(1, job::one_thread_each(), &world_, err));
    ASSERT_OK(tessera_mesh_create(world_, nullptr, &mesh_, err));
    model_ = job::model();
    config_ = job::config({{"optimizer.lr", "0.01"}, {"generate.max_new_tokens", "4"}});
    ASSERT_OK(tessera_trainer_create(mesh_, model_, config_, &trainer_, err));
    batch_ = job::batch(0, 0);
    tessera_metrics_init(&metrics_, sizeof metrics_);
  }
  void TearDown() override {
    tessera_batch_destroy(batch_);
    tessera_trainer_destroy(trainer_);
    tessera_config_destroy(config_);
    tessera_model_destroy(model_);
    tessera_mesh_destroy(mesh_);
    tessera_world_destroy(world_);
    EXPECT_EQ(job::live_handles(), before_);
  }

  int64_t before_ = 0;
  tessera_world world_{};
  tessera_mesh mesh_{};
  tessera_model model_{};
  tessera_config config_{};
  tessera_trainer trainer_{};
  tessera_batch batch_{};
  tessera_metrics metrics_{};
};

}  // namespace job
