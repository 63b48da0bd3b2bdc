// A process may end at any time: while ranks work, while they wait for each other, and with handles that
// static objects hold.
#include "job.h"

#include <chrono>
#include <cstdlib>

namespace {

/// Ranks that have made a step.
struct Busy {
  explicit Busy(int size) : worlds(static_cast<size_t>(size)) {
    EXPECT_EQ(tessera_world_create_threads(size, job::one_thread_each(), worlds.data(), nullptr), TESSERA_OK);
    std::vector<tessera_future> made(worlds.size());
    for (size_t r = 0; r < worlds.size(); ++r) {
      EXPECT_EQ(tessera_mesh_create_async(worlds[r], nullptr, &made[r], nullptr), TESSERA_OK);
    }
    const tessera_config config = job::config();
    for (size_t r = 0; r < worlds.size(); ++r) {
      tessera_mesh mesh;
      EXPECT_EQ(tessera_future_wait(made[r], TESSERA_FOREVER, nullptr), TESSERA_OK);
      EXPECT_EQ(tessera_future_get_mesh(made[r], &mesh, nullptr), TESSERA_OK);
      meshes.push_back(mesh);
    }
    for (size_t r = 0; r < worlds.size(); ++r) {
      EXPECT_EQ(tessera_trainer_create_async(meshes[r], job::model(), config, &made[r], nullptr), TESSERA_OK);
    }
    for (size_t r = 0; r < worlds.size(); ++r) {
      tessera_trainer trainer;
      EXPECT_EQ(tessera_future_wait(made[r], TESSERA_FOREVER, nullptr), TESSERA_OK);
      EXPECT_EQ(tessera_future_get_trainer(made[r], &trainer, nullptr), TESSERA_OK);
      trainers.push_back(trainer);
    }
    step(worlds.size(), 0);
    for (const tessera_future future : futures) {
      EXPECT_EQ(tessera_future_wait(future, TESSERA_FOREVER, nullptr), TESSERA_OK);
    }
  }

  /// Begins a step on the first `ranks` ranks.
  void step(size_t ranks, int number) {
    for (size_t r = 0; r < ranks; ++r) {
      tessera_future future;
      const tessera_batch batch = job::batch(static_cast<int>(r), number);
      EXPECT_EQ(tessera_trainer_step_async(trainers[r], batch, &future, nullptr), TESSERA_OK);
      futures.push_back(future);
    }
  }

  std::vector<tessera_world> worlds;
  std::vector<tessera_mesh> meshes;
  std::vector<tessera_trainer> trainers;
  std::vector<tessera_future> futures;
};

class Exit : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(Exit, WhileRanksWork) {
  for (int round = 0; round < 8; ++round) {
    EXPECT_EXIT(
        {
          for (int i = 0; i < 6; ++i) (new Busy(1))->step(1, round);
          std::exit(7);
        },
        ::testing::ExitedWithCode(7), "");
  }
}

TEST_F(Exit, WhileARankWaitsForAnother) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EXIT(
      {
        (new Busy(2))->step(1, 0);
        std::exit(7);
      },
      ::testing::ExitedWithCode(7), "");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

/// Destroys what it holds after the library has seen the end of the process.
struct Late {
  ~Late() {
    if (busy == nullptr) return;
    for (const tessera_trainer trainer : busy->trainers) tessera_trainer_destroy(trainer);
    for (const tessera_mesh mesh : busy->meshes) tessera_mesh_destroy(mesh);
    for (const tessera_future future : busy->futures) tessera_future_destroy(future);
    for (const tessera_world world : busy->worlds) tessera_world_destroy(world);
  }
  Busy* busy = nullptr;
} late;

TEST_F(Exit, WithHandlesThatStaticObjectsHold) {
  EXPECT_EXIT(
      {
        late.busy = new Busy(2);
        late.busy->step(2, 0);
        std::exit(7);
      },
      ::testing::ExitedWithCode(7), "");
}

}  // namespace
