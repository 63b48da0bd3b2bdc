// The plugin and device "cuda": without a driver a clear error at the door, and everything else as ever.
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cstddef>

#include "comm/world.h"
#include "core/cuda_plugin.h"
#include "core/error.h"
#include "kernels/cuda/table.h"

namespace tessera {
namespace {

TEST(DeviceCuda, WithoutADeviceIsAnErrorThatSaysWhy) {
  const std::string reason = cuda_unavailable_reason();
  if (reason.empty()) GTEST_SKIP() << "this machine has a GPU";
  WorldOptions options;
  options.device = "cuda";
  try {
    World::connect(options);
    FAIL() << "a world on a device that is not there";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::device);
    EXPECT_EQ(std::string(e.what()), "device=cuda: " + reason);
  }
  options.device = "cpu";
  EXPECT_NE(World::connect(options), nullptr);
  EXPECT_EQ(at::ones({3}).sum().item<float>(), 3);
}

/// Runs where the plugin lies beside this program; without it there is nothing to load.
TEST(PluginLoads, WithKernelsOfThisBuildAndSaysWhatItFinds) {
  const CudaPlugin* plugin = cuda_plugin();
  if (!plugin) GTEST_SKIP() << cuda_unavailable_reason();
  EXPECT_EQ(plugin->kernels->version, kernels::kCudaTableVersion);
  EXPECT_EQ(plugin->kernels->bytes, static_cast<int32_t>(sizeof(kernels::CudaTable)));
  // Every function is there.
  const auto* entries = reinterpret_cast<void* const*>(&plugin->kernels->error_text);
  const size_t count =
      (sizeof(kernels::CudaTable) - offsetof(kernels::CudaTable, error_text)) / sizeof(void*);
  for (size_t i = 0; i < count; ++i) EXPECT_NE(entries[i], nullptr) << "entry " << i;
  EXPECT_NE(std::string(plugin->versions()).find("CUDA 13"), std::string::npos) << plugin->versions();
}

}  // namespace
}  // namespace tessera
