// How kernel wrappers reach the CUDA kernels: which tensors qualify, and one call on their device and stream.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include <initializer_list>

#include "kernels/cuda/table.h"

namespace tessera::kernels {

/// The kernels for these tensors: the plugin's when all of them lie on one CUDA device, null otherwise.
/// Undefined tensors are passed over.
const CudaTable* cuda_table(std::initializer_list<const at::Tensor*> tensors);

/// Whether kernels read this dtype.
inline bool cuda_dtype(const at::Tensor& t) {
  return t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16;
}
inline CudaType cuda_type(const at::Tensor& t) {
  return t.scalar_type() == at::kFloat ? CudaType::f32 : CudaType::bf16;
}

/// As above, and all of one dtype that kernels read; other dtypes take the ATen composition.
const CudaTable* cuda_loops(std::initializer_list<const at::Tensor*> tensors);

/// The device of `where` made current, and its stream, while kernels are queued.
class CudaCall {
 public:
  CudaCall(const CudaTable& table, const at::Tensor& where);
  void* stream() const { return stream_; }
  /// Throws Error(device) for a launch that was refused.
  void check(int error, const char* kernel) const;

 private:
  const CudaTable& table_;
  c10::OptionalDeviceGuard guard_;
  void* stream_ = nullptr;
};

/// Lets a test run the calling thread's CPU tensors through a table that works on host memory (the kernels
/// compiled for the CPU), while it lives.
class CudaTableGuard {
 public:
  explicit CudaTableGuard(const CudaTable& table);
  ~CudaTableGuard();
  CudaTableGuard(const CudaTableGuard&) = delete;
  CudaTableGuard& operator=(const CudaTableGuard&) = delete;

 private:
  const CudaTable* previous_;
};

}  // namespace tessera::kernels
