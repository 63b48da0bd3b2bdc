// What the tests of CUDA kernels share: running a body on the emulator or on the GPU, and comparing with
// float64.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "core/cuda_plugin.h"
#include "core/error.h"
#include "kernels/cuda/dispatch.h"
#include "kernels_reference.h"

namespace tessera::kernels {

/// The kernels compiled for the CPU.
const CudaTable& emulated_table();

enum class Place { emulated, device };

/// A test that runs in both places. References are computed outside `here`, by the CPU's own kernels or ATen.
class OnPlace : public ::testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (on_device() && !cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  }

  bool on_device() const { return GetParam() == Place::device; }

  /// A copy of a CPU tensor where the kernels read it, with its strides.
  at::Tensor put(const at::Tensor& t) const {
    if (!on_device()) return t.clone();
    return t.to(at::Device(at::kCUDA, 0));
  }
  static at::Tensor back(const at::Tensor& t) { return t.cpu(); }

  /// The result of `body` with the kernels of the place.
  template <class Body>
  auto here(const Body& body) const {
    std::optional<CudaTableGuard> guard;
    if (!on_device()) guard.emplace(emulated_table());
    return body();
  }

  /// The table itself, for what no wrapper covers. Tensors given to it come from put().
  const CudaTable& table() const { return on_device() ? *cuda_plugin()->kernels : emulated_table(); }
  void* stream() const { return on_device() ? table().current_stream(0) : nullptr; }
};

inline std::string place_name(const ::testing::TestParamInfo<Place>& info) {
  return info.param == Place::device ? "device" : "emulated";
}

#define TESSERA_ON_PLACES(suite) \
  INSTANTIATE_TEST_SUITE_P(Gpu, suite, ::testing::Values(Place::emulated, Place::device), place_name)

}  // namespace tessera::kernels
