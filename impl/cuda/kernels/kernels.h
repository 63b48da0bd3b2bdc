// The host functions of this folder that make up the table; see kernels/cuda/table.h for what each does.
#pragma once

#include "kernels/cuda/table.h"

namespace tessera::cuda {

/// All kernels, with the two entries that need LibTorch left null.
kernels::CudaTable kernel_table();

/// Each file fills in its part.
void add_norm_kernels(kernels::CudaTable& table);
void add_rope_kernels(kernels::CudaTable& table);
void add_activation_kernels(kernels::CudaTable& table);
void add_cross_entropy_kernels(kernels::CudaTable& table);
void add_elementwise_kernels(kernels::CudaTable& table);
void add_multi_tensor_kernels(kernels::CudaTable& table);
void add_row_kernels(kernels::CudaTable& table);
void add_float8_kernels(kernels::CudaTable& table);
void add_normal_kernels(kernels::CudaTable& table);

/// CudaTable's entries of these names, which other kernels end with.
int sum_doubles(const double* x, int64_t n, double* out, bool accumulate, void* stream);
int column_sum(kernels::CudaType type, const void* x, int64_t stride, float* out, float* scratch,
               int64_t rows, int64_t h, void* stream);

}  // namespace tessera::cuda
