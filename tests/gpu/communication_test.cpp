// Ranks on GPUs: the plugin's NCCL and streams, the engines between ranks, and whole steps against the cpu's.
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "collective_suite.h"
#include "comm/cuda_communication.h"
#include "comm/device_world.h"
#include "core/cuda_plugin.h"
#include "rank_threads.h"
#include "training_run.h"

namespace tessera::testing {
namespace {

/// What `state` says once it says something.
int settled(const NcclApi& nccl, void* comm) {
  int result = kNcclInProgress;
  for (int i = 0; i < 20000 && result == kNcclInProgress; ++i) {
    if (nccl.state(comm, &result) != kNcclSuccess) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return result;
}

/// Finalizes and destroys a communicator without blocking.
void expect_ends(const NcclApi& nccl, void* comm) {
  const int finalized = nccl.finalize(comm);
  EXPECT_TRUE(finalized == kNcclSuccess || finalized == kNcclInProgress) << nccl.error_text(finalized);
  EXPECT_EQ(settled(nccl, comm), kNcclSuccess);
  EXPECT_EQ(nccl.destroy(comm), kNcclSuccess);
}

TEST(PluginLoads, OffersNcclWhichFailsWithoutADriverAndDoesNotEndTheProcess) {
  if (!cuda_plugin()) GTEST_SKIP() << cuda_unavailable_reason();
  const CudaCommunication* cuda = cuda_communication();
  ASSERT_NE(cuda, nullptr);
  char reason[256] = "";
  const NcclApi* nccl = cuda->nccl(reason, sizeof reason);
  ASSERT_NE(nccl, nullptr) << reason;
  EXPECT_GE(nccl->version, 22700);
  char id[kNcclIdBytes];
  EXPECT_EQ(nccl->unique_id(id), kNcclSuccess);
  if (!cuda_unavailable_reason().empty()) {
    void* comm = nullptr;
    int result = nccl->init(&comm, 1, id, 0, "test");
    if (result == kNcclInProgress) result = settled(*nccl, comm);
    EXPECT_NE(result, kNcclSuccess);
    EXPECT_STRNE(nccl->error_text(result), "");
    int64_t stream = 0;
    void* native = nullptr;
    EXPECT_NE(cuda->new_stream(0, &stream, &native), 0);
    char bus[64] = "";
    EXPECT_FALSE(cuda->bus_id(0, bus, sizeof bus));
  }
}

class RanksOn : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  }
};

TEST_P(RanksOn, OneRankOfNcclNeverBlocksAndCanBeSplitAndAborted) {
  const CudaCommunication& cuda = *cuda_communication();
  char reason[256] = "";
  const NcclApi* nccl = cuda.nccl(reason, sizeof reason);
  ASSERT_NE(nccl, nullptr) << reason;
  const at::Device device(at::kCUDA, 0);
  c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(device);
  char id[kNcclIdBytes];
  ASSERT_EQ(nccl->unique_id(id), kNcclSuccess);
  void* comm = nullptr;
  const int begun = nccl->init(&comm, 1, id, 0, "one");
  ASSERT_TRUE(begun == kNcclSuccess || begun == kNcclInProgress) << nccl->error_text(begun);
  ASSERT_EQ(settled(*nccl, comm), kNcclSuccess);

  int64_t stream_id = 0;
  void* native = nullptr;
  ASSERT_EQ(cuda.new_stream(0, &stream_id, &native), 0);
  const c10::Stream stream(c10::Stream::UNSAFE, device, stream_id);
  EXPECT_EQ(stream.native_handle(), native);
  const at::Tensor tensor = at::full({1000}, 3.0F, at::dtype(at::kFloat).device(device));
  const c10::impl::VirtualGuardImpl guard(at::kCUDA);
  guard.synchronizeStream(guard.getStream(device));
  ASSERT_EQ(nccl->group_start(), kNcclSuccess);
  nccl->all_reduce(tensor.const_data_ptr(), tensor.mutable_data_ptr(), 1000, NcclType::float32,
                   NcclReduce::sum, comm, native);
  const int ended = nccl->group_end();
  ASSERT_TRUE(ended == kNcclSuccess || ended == kNcclInProgress) << nccl->error_text(ended);
  ASSERT_EQ(settled(*nccl, comm), kNcclSuccess);
  stream.synchronize();
  EXPECT_EQ(tensor.cpu().sum().item<float>(), 3000);

  void* child = nullptr;
  const int split = nccl->split(comm, 0, 0, "child", &child);
  ASSERT_TRUE(split == kNcclSuccess || split == kNcclInProgress) << nccl->error_text(split);
  ASSERT_EQ(settled(*nccl, comm), kNcclSuccess);
  ASSERT_NE(child, nullptr);
  EXPECT_EQ(settled(*nccl, child), kNcclSuccess);
  const int aborted = nccl->abort(child);
  EXPECT_TRUE(aborted == kNcclSuccess || aborted == kNcclInProgress) << nccl->error_text(aborted);
  expect_ends(*nccl, comm);
  cuda.free_stream(0, native);
}

TEST_P(RanksOn, NcclRegistersItsOwnMemoryAndLetsItGo) {
  const CudaCommunication& cuda = *cuda_communication();
  char reason[256] = "";
  const NcclApi* nccl = cuda.nccl(reason, sizeof reason);
  ASSERT_NE(nccl, nullptr) << reason;
  ASSERT_TRUE(nccl->registers());
  const c10::impl::VirtualGuardImpl guard(at::kCUDA);
  guard.setDevice(at::Device(at::kCUDA, 0));
  char id[kNcclIdBytes];
  ASSERT_EQ(nccl->unique_id(id), kNcclSuccess);
  void* comm = nullptr;
  const int begun = nccl->init(&comm, 1, id, 0, "one");
  ASSERT_TRUE(begun == kNcclSuccess || begun == kNcclInProgress) << nccl->error_text(begun);
  ASSERT_EQ(settled(*nccl, comm), kNcclSuccess);

  constexpr size_t kBytes = 5 << 20;
  void* memory = nullptr;
  ASSERT_EQ(nccl->memory_new(&memory, kBytes), kNcclSuccess);
  void* handle = nullptr;
  const int registered = nccl->register_memory(comm, memory, kBytes, &handle);
  ASSERT_EQ(registered, kNcclSuccess) << nccl->last_error(comm);
  EXPECT_NE(handle, nullptr);
  const at::Tensor tensor =
      at::for_blob(memory, {1000}).options(at::dtype(at::kFloat).device(at::kCUDA, 0)).make_tensor();
  tensor.fill_(3);
  int64_t stream_id = 0;
  void* native = nullptr;
  ASSERT_EQ(cuda.new_stream(0, &stream_id, &native), 0);
  ASSERT_EQ(cuda.await_device(0), 0);
  ASSERT_EQ(nccl->group_start(), kNcclSuccess);
  nccl->all_gather(memory, static_cast<char*>(memory) + 4096, 4000, NcclType::int8, comm, native);
  const int ended = nccl->group_end();
  ASSERT_TRUE(ended == kNcclSuccess || ended == kNcclInProgress) << nccl->error_text(ended);
  ASSERT_EQ(settled(*nccl, comm), kNcclSuccess);
  ASSERT_EQ(cuda.await_device(0), 0);
  EXPECT_EQ(tensor.cpu().sum().item<float>(), 3000);
  EXPECT_EQ(nccl->deregister_memory(comm, handle), kNcclSuccess);
  EXPECT_EQ(nccl->memory_free(memory), kNcclSuccess);
  expect_ends(*nccl, comm);
  cuda.free_stream(0, native);
}

TEST_P(RanksOn, SegmentsOfTheAllocatorGrow) {
  char reason[512] = "";
  EXPECT_TRUE(cuda_plugin()->use_expandable_segments(true, reason, sizeof reason)) << reason;
  const at::Tensor large = at::full({int64_t{64} << 20}, 2.0F, at::dtype(at::kFloat).device(at::kCUDA, 0));
  EXPECT_EQ(large[-1].item<float>(), 2);
}

TEST_P(RanksOn, CollectivesOfRanksThatShareAGpuOrHaveOneEach) {
  WorldOptions options;
  options.device = "cuda";
  run_ranks(
      4, [](const WorldPtr& world) { exercise_device_collectives(*world->everyone(), device_of(*world), 1); },
      options);
}

void expect_cpu_result(TrainingRun run) {
  run.options = tiny_options();
  run.options.optimizer.name = "sgd";
  run.options.lr = 0.3;
  TrainingRun alone = run;
  alone.mesh = {.dp_shard = 1};
  alone.ranks = 1;
  const TrainingOutcome expected = train(alone);
  run.on = TrainingRun::On::cuda;
  const TrainingOutcome actual = train(run);
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (size_t s = 0; s < expected.losses.size(); ++s) {
    EXPECT_NEAR(actual.losses[s], expected.losses[s], 1e-5 * expected.losses[s]) << "step " << s + 1;
    EXPECT_NEAR(actual.norms[s], expected.norms[s], 1e-4 * expected.norms[s]) << "step " << s + 1;
  }
  EXPECT_LT(worst_error(actual.gradients, expected.gradients), 1e-4);
}

TEST_P(RanksOn, OneRankTrainsAsTheCpu) {
  TrainingRun run;
  run.config = tiny_config(/*tied=*/true);
  run.mesh = {.dp_shard = 1};
  expect_cpu_result(run);
}

TEST_P(RanksOn, AMeshTrainsAsTheCpu) {
  TrainingRun run;
  run.config = tiny_config(/*tied=*/true);
  run.mesh = {.pp = 2, .dp_shard = 2, .tp = 2};
  run.ranks = 8;
  run.microbatches = 4;
  expect_cpu_result(run);
}

INSTANTIATE_TEST_SUITE_P(Gpus, RanksOn, ::testing::Values(0), [](const auto&) { return "device"; });

}  // namespace
}  // namespace tessera::testing
