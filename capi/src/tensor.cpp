// tessera/tensor.h
#include <ATen/DLConvertor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <initializer_list>

#include "core/caught.h"
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::Code;
using tessera::Error;

namespace {

struct DtypeName {
  int32_t dtype;
  at::ScalarType type;
};
constexpr DtypeName kDtypes[] = {
    {TESSERA_DTYPE_F32, at::kFloat},     {TESSERA_DTYPE_F64, at::kDouble}, {TESSERA_DTYPE_F16, at::kHalf},
    {TESSERA_DTYPE_BF16, at::kBFloat16}, {TESSERA_DTYPE_I64, at::kLong},   {TESSERA_DTYPE_I32, at::kInt},
    {TESSERA_DTYPE_U8, at::kByte},
};

at::ScalarType scalar_type(int32_t dtype) {
  for (const DtypeName& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.type;
  }
  throw Error(Code::argument, tessera::cat("dtype=", dtype, " is not a tessera_dtype"));
}

int32_t dtype_of(const at::Tensor& tensor) {
  for (const DtypeName& entry : kDtypes) {
    if (entry.type == tensor.scalar_type()) return entry.dtype;
  }
  throw Error(Code::unsupported,
              tessera::cat("dtype ", c10::toString(tensor.scalar_type()), " has no tessera_dtype"));
}

/// Types of DLPack that have a tessera_dtype.
bool is_supported(DLDataType type) {
  const auto any_of = [&](std::initializer_list<uint8_t> bits) {
    return std::find(bits.begin(), bits.end(), type.bits) != bits.end();
  };
  switch (type.code) {
    case kDLFloat:
      return any_of({16, 32, 64});
    case kDLBfloat:
      return type.bits == 16;
    case kDLInt:
      return any_of({32, 64});
    case kDLUInt:
      return type.bits == 8;
    default:
      return false;
  }
}

bool is_supported(DLDevice device) {
  switch (device.device_type) {
    case kDLCPU:
    case kDLCUDA:
    case kDLCUDAHost:
    case kDLCUDAManaged:
      return true;
    default:
      return false;
  }
}

/// Throws for a tensor that LibTorch could not take, or would take without looking.
void check_dlpack(const DLTensor& source) {
  TESSERA_CHECK(source.ndim >= 0 && source.ndim <= 64, argument, "dlpack.ndim=", source.ndim,
                " must be between 0 and 64");
  TESSERA_CHECK(source.shape != nullptr || source.ndim == 0, argument, "dlpack.shape is null");
  TESSERA_CHECK(source.dtype.lanes == 1, unsupported, "dlpack.dtype.lanes=", source.dtype.lanes);
  TESSERA_CHECK(is_supported(source.device), unsupported,
                "dlpack.device type=", int{source.device.device_type}, " id=", source.device.device_id,
                " is neither CPU nor CUDA");
  TESSERA_CHECK(is_supported(source.dtype), unsupported, "dlpack.dtype code=", int{source.dtype.code},
                " bits=", int{source.dtype.bits}, " has no tessera_dtype");
  bool empty = false;
  for (int32_t d = 0; d < source.ndim; ++d) {
    TESSERA_CHECK(source.shape[d] >= 0, argument, "dlpack.shape[", d, "]=", source.shape[d], " is negative");
    empty = empty || source.shape[d] == 0;
  }
  TESSERA_CHECK(source.data != nullptr || empty, argument, "dlpack.data is null");
  const int64_t element = source.dtype.bits / 8;
  // The furthest element, in bytes: dense rows where there are no strides.
  int64_t reach = element;
  for (int32_t d = source.ndim - 1; d >= 0 && !empty; --d) {
    const int64_t stride = source.strides == nullptr ? 0 : source.strides[d];
    TESSERA_CHECK(stride >= 0, unsupported, "dlpack.strides[", d, "]=", stride, " is negative");
    int64_t step = 0;
    const bool fits = source.strides == nullptr
                          ? !__builtin_mul_overflow(reach, source.shape[d], &reach)
                          : !__builtin_mul_overflow(stride, (source.shape[d] - 1), &step) &&
                                !__builtin_mul_overflow(step, element, &step) &&
                                !__builtin_add_overflow(reach, step, &reach);
    TESSERA_CHECK(fits, argument, "dlpack.shape[", d, "]=", source.shape[d],
                  " describes more than 2^63 bytes");
  }
  TESSERA_CHECK((reinterpret_cast<uintptr_t>(source.data) + source.byte_offset) % element == 0, argument,
                "dlpack.byte_offset=", source.byte_offset, ": the elements are not aligned to their ",
                element, " bytes");
}

/// Checked sizes; `bytes` is what a dense tensor of them needs.
std::vector<int64_t> read_dims(const int64_t* dims, int64_t n_dims, at::ScalarType type, size_t& bytes) {
  constexpr int64_t kMostDims = 64;
  TESSERA_CHECK(n_dims >= 0 && n_dims <= kMostDims, argument, "n_dims=", n_dims, " must be between 0 and ",
                kMostDims);
  TESSERA_CHECK(dims != nullptr || n_dims == 0, argument, "dims is null but n_dims=", n_dims);
  std::vector<int64_t> sizes;
  int64_t total = static_cast<int64_t>(c10::elementSize(type));
  for (int64_t d = 0; d < n_dims; ++d) {
    TESSERA_CHECK(dims[d] >= 0, argument, "dims[", d, "]=", dims[d], " is negative");
    TESSERA_CHECK(!__builtin_mul_overflow(total, dims[d], &total), argument,
                  "dims describe more than 2^63 bytes");
    sizes.push_back(dims[d]);
  }
  bytes = static_cast<size_t>(total);
  return sizes;
}

void check_bytes(size_t given, size_t needed) {
  TESSERA_CHECK(given == needed, argument, "bytes=", given, " but the tensor has ", needed);
}

void give_tensor(at::Tensor tensor, tessera_tensor* out) {
  give(std::make_shared<TensorObject>(TensorObject{std::move(tensor)}), out);
}

}  // namespace

tessera_status tessera_tensor_create(int32_t dtype, const int64_t* dims, int64_t n_dims, const void* data,
                                     size_t bytes, tessera_tensor* out_tensor, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_tensor);
    const at::ScalarType type = scalar_type(dtype);
    size_t needed = 0;
    const std::vector<int64_t> sizes = read_dims(dims, n_dims, type, needed);
    if (data == nullptr) {
      give_tensor(at::zeros(sizes, type), out_tensor);
      return;
    }
    check_bytes(bytes, needed);
    at::Tensor tensor = at::empty(sizes, type);
    if (needed > 0) std::memcpy(tensor.mutable_data_ptr(), data, needed);
    give_tensor(std::move(tensor), out_tensor);
  });
}

tessera_status tessera_tensor_create_view(int32_t dtype, const int64_t* dims, int64_t n_dims, void* data,
                                          size_t bytes, tessera_tensor* out_tensor, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(data);
    TESSERA_NOT_NULL(out_tensor);
    const at::ScalarType type = scalar_type(dtype);
    size_t needed = 0;
    const std::vector<int64_t> sizes = read_dims(dims, n_dims, type, needed);
    check_bytes(bytes, needed);
    TESSERA_CHECK(reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) == 0, argument,
                  "data is not aligned to the ", c10::elementSize(type), " bytes of an element");
    give_tensor(at::from_blob(data, sizes, type), out_tensor);
  });
}

tessera_status tessera_tensor_create_dlpack(struct DLManagedTensorVersioned* dlpack,
                                            tessera_tensor* out_tensor, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(dlpack);
    TESSERA_NOT_NULL(out_tensor);
    // A different major version may lay the struct out differently: nothing but the version may be read then.
    TESSERA_CHECK(dlpack->version.major == DLPACK_MAJOR_VERSION, unsupported, "dlpack version ",
                  dlpack->version.major, ".", dlpack->version.minor, " instead of ", DLPACK_MAJOR_VERSION,
                  ".x");
    check_dlpack(dlpack->dl_tensor);
    // Owned by the tensor only once nothing can fail any more: on error the caller keeps it.
    bool owned = false;
    const auto deleter = std::make_shared<bool*>(&owned);
    at::Tensor tensor;
    try {
      tensor = at::fromDLPackVersioned(dlpack, [dlpack, deleter](void*) {
        if (*deleter == nullptr && dlpack->deleter != nullptr) dlpack->deleter(dlpack);
      });
    } catch (const c10::Error& error) {
      const DLDevice& device = dlpack->dl_tensor.device;
      throw Error(Code::unsupported, tessera::cat("dlpack.device type=", int{device.device_type},
                                                  " id=", device.device_id, ": ", tessera::text_of(error)));
    }
    dtype_of(tensor);
    at::Tensor result = (dlpack->flags & DLPACK_FLAG_BITMASK_READ_ONLY) != 0 ? tensor.clone() : tensor;
    give_tensor(std::move(result), out_tensor);
    *deleter = nullptr;
  });
}

tessera_status tessera_tensor_destroy(tessera_tensor tensor) {
  return destroy<TensorObject>(tensor);
}

tessera_status tessera_tensor_get_dtype(tessera_tensor tensor, int32_t* out_dtype, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_dtype);
    *out_dtype = dtype_of(find<TensorObject>(tensor, "tensor")->tensor);
  });
}

tessera_status tessera_tensor_get_dims(tessera_tensor tensor, int64_t* buf, size_t cap, size_t* out_len,
                                       tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = find<TensorObject>(tensor, "tensor");
    const auto sizes = object->tensor.sizes();
    write_array(std::span<const int64_t>(sizes.data(), sizes.size()), buf, cap, out_len);
  });
}

tessera_status tessera_tensor_get_data(tessera_tensor tensor, void* buf, size_t cap, size_t* out_len,
                                       tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const at::Tensor data = find<TensorObject>(tensor, "tensor")->tensor;
    *out_len = data.nbytes();
    TESSERA_CHECK(cap >= data.nbytes(), buffer, "cap=", cap, " is too small for ", data.nbytes(), " bytes");
    if (data.nbytes() == 0) return;
    const at::Tensor dense = data.cpu().contiguous();
    std::memcpy(buf, dense.const_data_ptr(), data.nbytes());
  });
}

tessera_status tessera_tensor_set_data(tessera_tensor tensor, const void* data, size_t bytes,
                                       tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(data);
    const at::Tensor target = find<TensorObject>(tensor, "tensor")->tensor;
    check_bytes(bytes, target.nbytes());
    if (bytes == 0) return;
    const at::Tensor source = at::empty(target.sizes(), target.scalar_type());
    std::memcpy(source.mutable_data_ptr(), data, bytes);
    target.copy_(source);
  });
}

tessera_status tessera_tensor_get_dlpack(tessera_tensor tensor, struct DLManagedTensorVersioned** out_dlpack,
                                         tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_dlpack);
    *out_dlpack = at::toDLPackVersioned(find<TensorObject>(tensor, "tensor")->tensor);
  });
}
