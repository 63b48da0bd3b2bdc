// Every test program computes with one intra-op thread, as ranks that are threads of one process do: tests that run side
// by side would otherwise wait for each other's OpenMP teams.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

class OneThread : public ::testing::Environment {
  void SetUp() override { at::set_num_threads(1); }
};

[[maybe_unused]] const auto* const kOneThread = ::testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace
}  // namespace tessera
