// Without a plugin or a driver, device "cuda" is refused with a reason, and nothing else changes.
#include "core/cuda_plugin.h"

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(CudaPluginTest, SaysWhyCudaCannotBeUsedOrOffersADevice) {
  const std::string reason = cuda_unavailable_reason();
  if (const CudaPlugin* plugin = cuda_plugin()) {
    char name[256] = "", text[256] = "";
    int64_t total = 0, available = 0;
    const int32_t devices = plugin->device_count(text, sizeof text);
    EXPECT_EQ(reason.empty(), devices > 0) << reason;
    EXPECT_EQ(plugin->device_info(0, name, sizeof name, &total, &available), devices > 0);
    EXPECT_FALSE(plugin->device_info(devices, name, sizeof name, &total, &available));
  } else {
    EXPECT_NE(reason.find("libtessera_cuda.so"), std::string::npos) << reason;
  }
}

TEST(CudaPluginTest, CpuTensorsWorkEitherWay) {
  static_cast<void>(cuda_plugin());
  EXPECT_EQ(at::ones({4}).numel(), 4);
}

}  // namespace
}  // namespace tessera
