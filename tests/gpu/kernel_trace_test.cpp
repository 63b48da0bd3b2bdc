// The trace of kernels that profiles are made of: its lines, and what happens where it cannot be written.
#include "bench/kernel_trace.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace tessera::tracing {
namespace {

std::string text_of(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

struct KernelTrace : testing::Test {
  const std::string path = testing::TempDir() + "tessera_kernel_trace_test";
  void SetUp() override { std::remove(path.c_str()); }
  void TearDown() override { std::remove(path.c_str()); }
};

TEST_F(KernelTrace, NamesAKernelOnceAndReadably) {
  TraceWriter writer(path.c_str());
  writer.kernel({10, 20, 7}, "_ZN7tessera10add_kernelEPfi");
  writer.kernel({30, 45, 7}, "_ZN7tessera10add_kernelEPfi");
  writer.kernel({50, 60, 8}, "triton_poi_fused_0");
  writer.copy({61, 70, 9}, 4096, 1);
  writer.set({71, 72, 9}, 16);
  writer.flush();
  EXPECT_EQ(text_of(path),
            "N 0 tessera::add_kernel(float*, int)\nK 10 20 7 0\nK 30 45 7 0\n"
            "N 1 triton_poi_fused_0\nK 50 60 8 1\nC 61 70 9 4096 1\nS 71 72 9 16\n");
}

TEST_F(KernelTrace, LeavesTheFileOfAnotherProcessAlone) {
  std::ofstream(path) << "another's\n";
  TraceWriter writer(path.c_str());
  EXPECT_FALSE(writer.open());
  writer.kernel({1, 2, 3}, nullptr);
  EXPECT_EQ(text_of(path), "another's\n");
}

TEST_F(KernelTrace, TakesRecordsWithoutAFile) {
  TraceWriter writer(nullptr);
  EXPECT_FALSE(writer.open());
  writer.kernel({1, 2, 3}, "k");
  writer.flush();
}

}  // namespace
}  // namespace tessera::tracing
