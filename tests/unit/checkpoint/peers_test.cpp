// Training checkpoints over the local engine: the real collectives, and ranks that go away in the middle of a
// save.
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros_like.h>

#include <thread>

#include "checkpoint/training_checkpoint.h"
#include "checkpoint_group.h"
#include "checkpoint_support.h"
#include "comm/world.h"
#include "support/rank_threads.h"

namespace tessera {
namespace {

FullTensors state() {
  return {{"w", at::arange(120).to(at::kFloat).reshape({10, 12})}, {"b", at::arange(7).to(at::kFloat)}};
}

TEST(CheckpointPeers, SavesAndLoadsOverTheLocalEngine) {
  const TempDirectory directory;
  testing::run_ranks(4, [&](const WorldPtr& world) {
    save_checkpoint(directory / "c", shard_tensors(state(), world->rank(), 2, 2), "{}", *world->everyone());
  });
  testing::run_ranks(3, [&](const WorldPtr& world) {
    const auto expected = shard_tensors(state(), world->rank(), 1, 3);
    auto mine = expected;
    for (ShardedTensor& tensor : mine) tensor.local = at::zeros_like(tensor.local);
    load_checkpoint(directory / "c", mine, *world->everyone());
    for (size_t i = 0; i < mine.size(); ++i) EXPECT_TRUE(at::equal(mine[i].local, expected[i].local));
  });
}

TEST(CheckpointPeers, ARankThatLeavesDuringASaveIsAnErrorOfTheOthersAndTheOldCheckpointStays) {
  const TempDirectory directory;
  testing::run_ranks(3, [&](const WorldPtr& world) {
    save_checkpoint(directory / "c", shard_tensors(state(), world->rank(), 1, 3), "{}", *world->everyone());
  });
  const std::vector<WorldPtr> worlds = World::threads(3);
  std::vector<Code> codes(3, Code::ok);
  std::vector<int> blamed(3, -1);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        if (rank == 1) return worlds[rank]->abort("lost its device");
        FullTensors changed = state();
        for (auto& [name, tensor] : changed) tensor = tensor.add(1);
        save_checkpoint(directory / "c", shard_tensors(changed, rank, 1, 3), "{}", *worlds[rank]->everyone());
      } catch (const Error& error) {
        codes[rank] = error.code();
        blamed[rank] = error.rank();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (int rank : {0, 2}) {
    EXPECT_EQ(codes[rank], Code::peer_failed);
    EXPECT_EQ(blamed[rank], 1);
  }
  testing::run_ranks(1, [&](const WorldPtr& world) {
    auto mine = shard_tensors(state(), 0, 1, 1);
    for (ShardedTensor& tensor : mine) tensor.local.zero_();
    load_checkpoint(directory / "c", mine, *world->everyone());
    EXPECT_TRUE(at::equal(mine[0].local, state()[0].second));
  });
}

}  // namespace
}  // namespace tessera
