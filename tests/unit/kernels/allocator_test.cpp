// The caching allocator: reuse, bounds, threads that end, and leaving the process as it was.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "kernels/cpu/caching_allocator.h"
#include "kernels/elementwise.h"

namespace tessera::kernels {
namespace {

class CachingAllocator : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!install_caching_allocator()) GTEST_SKIP() << "not available in this build";
    release_cached_memory();
  }
  void TearDown() override { uninstall_caching_allocator(); }
};

at::Tensor bytes(int64_t n) {
  return at::empty({n}, at::TensorOptions(at::kByte));
}

TEST_F(CachingAllocator, GivesAFreedBlockAgain) {
  const void* first = bytes(1 << 20).data_ptr();
  EXPECT_EQ(bytes(1 << 20).data_ptr(), first);
  EXPECT_EQ(bytes((1 << 20) - 100).data_ptr(), first);  // the same size class
}

TEST_F(CachingAllocator, KnowsFreshMemory) {
  at::Tensor t = bytes(1 << 20);
  EXPECT_TRUE(fresh_memory(t.storage().data_ptr()));
  t.fill_(1);
  t.reset();
  t = bytes(1 << 20);
  EXPECT_FALSE(fresh_memory(t.storage().data_ptr()));
  EXPECT_FALSE(fresh_memory(bytes(100).storage().data_ptr()));  // malloc's
}

TEST_F(CachingAllocator, ZerosAreZeroInMemoryOfAnyPast) {
  const auto all_zero = [](int64_t n) {
    const at::Tensor t = zeros({n}, at::TensorOptions(at::kByte));
    const bool result = !t.any().item<bool>();
    t.fill_(1);
    return result;
  };
  for (int64_t n : {1, 100, 1 << 20, 5 << 20}) {
    EXPECT_TRUE(all_zero(n)) << n;
    EXPECT_TRUE(all_zero(n)) << n << " for the second time";
  }
}

TEST_F(CachingAllocator, AlignsAndSpansEverySize) {
  std::vector<at::Tensor> live;
  for (int64_t n = 1; n < (int64_t{1} << 26); n = n * 9 / 8 + 1) {
    at::Tensor t = bytes(n);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data_ptr()) % 64, 0u);
    auto* p = static_cast<uint8_t*>(t.data_ptr());
    p[0] = static_cast<uint8_t>(n);
    p[n - 1] = static_cast<uint8_t>(n);
    if (n > (1 << 22)) live.clear();
    live.push_back(t);
  }
}

TEST_F(CachingAllocator, CountsAndReleases) {
  const CachingAllocatorStats before = caching_allocator_stats();
  at::Tensor t = bytes(8 << 20);
  EXPECT_GE(caching_allocator_stats().in_use_bytes - before.in_use_bytes, 8 << 20);
  t.reset();
  EXPECT_EQ(caching_allocator_stats().in_use_bytes, before.in_use_bytes);
  EXPECT_GE(caching_allocator_stats().cached_bytes, 8 << 20);
  release_cached_memory();
  EXPECT_EQ(caching_allocator_stats().cached_bytes, 0);
}

TEST_F(CachingAllocator, KeepsNoMoreThanItMay) {
  install_caching_allocator({.max_cached_bytes = 4 << 20});
  std::vector<at::Tensor> many;
  for (int i = 0; i < 20; ++i) many.push_back(bytes(1 << 20));
  many.clear();
  EXPECT_LE(caching_allocator_stats().cached_bytes, 4 << 20);
}

TEST_F(CachingAllocator, IdleBlocksGoBack) {
  install_caching_allocator({.idle_seconds = 0});
  bytes(3 << 20);
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  bytes(1 << 17);  // any large allocation comes by
  EXPECT_LT(caching_allocator_stats().cached_bytes, 3 << 20);
}

TEST_F(CachingAllocator, OneThreadUsesWhatAnotherFreed) {
  const void* there = nullptr;
  std::thread([&] { there = bytes(5 << 20).data_ptr(); }).join();
  const int64_t mapped = caching_allocator_stats().mapped_blocks;
  EXPECT_EQ(bytes(5 << 20).data_ptr(), there);
  EXPECT_EQ(caching_allocator_stats().mapped_blocks, mapped);
}

TEST_F(CachingAllocator, LivingBlocksNeverOverlapUnderManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> broken{0};
  std::mutex mutex;
  std::vector<at::Tensor> exchanged;  // tensors freed by another thread than the one that made them
  for (int id = 0; id < 4; ++id) {
    threads.emplace_back([&, id] {
      std::mt19937 random(static_cast<unsigned>(id));
      std::vector<std::pair<at::Tensor, int64_t>> live;
      for (int i = 0; i < 400; ++i) {
        const auto n = static_cast<int64_t>(1000 + random() % 400'000);
        at::Tensor t = at::full({n / 8}, i * 4 + id, at::TensorOptions(at::kLong));
        live.emplace_back(t, i * 4 + id);
        if (live.size() > 8) {
          const size_t victim = random() % live.size();
          if (!live[victim].first.eq(live[victim].second).all().item<bool>()) ++broken;
          const std::lock_guard lock(mutex);
          exchanged.push_back(live[victim].first);
          live.erase(live.begin() + static_cast<int64_t>(victim));
          if (exchanged.size() > 6) exchanged.erase(exchanged.begin(), exchanged.begin() + 3);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(broken, 0);
}

TEST_F(CachingAllocator, ImpossibleSizesAreErrors) {
  EXPECT_THROW(bytes(int64_t{1} << 60), c10::OutOfMemoryError);
  EXPECT_NO_THROW(bytes(100));
}

TEST_F(CachingAllocator, TensorsOutliveItsUse) {
  at::Tensor t = at::full({1 << 18}, 7, at::TensorOptions(at::kInt));
  uninstall_caching_allocator();
  EXPECT_EQ(c10::GetCPUAllocator(), c10::GetDefaultCPUAllocator());
  EXPECT_TRUE(t.eq(7).all().item<bool>());
  t.reset();
}

TEST(CachingAllocatorDefault, LeavesTheProcessAlone) {
  EXPECT_EQ(c10::GetCPUAllocator(), c10::GetDefaultCPUAllocator());
}

}  // namespace
}  // namespace tessera::kernels
