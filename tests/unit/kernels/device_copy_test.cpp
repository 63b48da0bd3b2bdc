// Copies between host memory and devices: what is ordered behind what, and memory that a device has failed
// with.
#include "kernels/device_copy.h"

#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "fake_device.h"

namespace tessera {
namespace {

TEST(CopyStreams, FollowWhatTheCurrentStreamHasBeenGiven) {
  const at::Device device(c10::kPrivateUse1, 0);
  const CopyStream copies(device);
  const c10::Stream computes(c10::Stream::UNSAFE, device, testing::new_late_stream());
  int at = 0;
  int computed = 0;
  int copied = 0;
  const c10::StreamGuard on_computes(computes);
  testing::queue_on_stream(computes.id(), [&] { computed = ++at; });
  copies.follow();
  testing::queue_on_stream(copies.stream().id(), [&] { copied = ++at; });
  copies.stream().synchronize();
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(copied, 2);
}

TEST(PinnedMemory, ThatCannotBeFreedDoesNotEndTheProcess) {
  static int frees = 0;
  static char memory[64];
  const auto failing = [](void* context) {
    EXPECT_EQ(context, memory);
    ++frees;
    throw std::runtime_error("an illegal memory access was encountered");
  };
  {
    const c10::Storage storage(c10::Storage::use_byte_size_t(), sizeof memory,
                               at::DataPtr(memory, memory, +failing, at::kCPU));
    at::Tensor tensor = at::empty({0}, at::kByte);
    tensor.set_(storage, 0, {64}, {1});
    tensor = freed_quietly(freed_quietly(tensor));
    EXPECT_EQ(tensor.data_ptr(), memory);
    EXPECT_EQ(frees, 0);
  }
  EXPECT_EQ(frees, 1);
}

}  // namespace
}  // namespace tessera
