// All kernels of this folder as one table.
#include "device.h"
#include "kernels.h"

namespace tessera::cuda {

kernels::CudaTable kernel_table() {
  kernels::CudaTable table{};
  table.version = kernels::kCudaTableVersion;
  table.bytes = static_cast<int32_t>(sizeof(kernels::CudaTable));
  table.error_text = [](int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); };
  add_norm_kernels(table);
  add_rope_kernels(table);
  add_activation_kernels(table);
  add_cross_entropy_kernels(table);
  add_elementwise_kernels(table);
  add_multi_tensor_kernels(table);
  add_row_kernels(table);
  add_float8_kernels(table);
  add_normal_kernels(table);
  return table;
}

}  // namespace tessera::cuda
