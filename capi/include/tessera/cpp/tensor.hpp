// Tensors that cross the interface.
#ifndef TESSERA_CPP_TENSOR_HPP
#define TESSERA_CPP_TENSOR_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tessera/tensor.h"
#include "tessera/cpp/future.hpp"

namespace tessera {
inline namespace cpp0 {

/// A tensor that crosses the interface, row-major.
class Tensor : public detail::Handle<tessera_tensor, tessera_tensor_destroy> {
   public:
    Tensor() {}
    explicit Tensor(tessera_tensor tensor) : Handle(tensor) {}
    /// Zeros.
    static Tensor zeros(std::int32_t dtype, const std::vector<std::int64_t> &dims) {
        return make(tessera_tensor_create, dtype, dims, static_cast<const void *>(nullptr), 0);
    }
    /// A copy of `data`.
    template <class T>
    static Tensor copy_of(std::int32_t dtype, const std::vector<std::int64_t> &dims, const std::vector<T> &data) {
        return make(tessera_tensor_create, dtype, dims, static_cast<const void *>(data.data()),
                    data.size() * sizeof(T));
    }
    /// A view of the caller's memory, which must stay until this and every call that got it have ended.
    static Tensor view_of(std::int32_t dtype, const std::vector<std::int64_t> &dims, void *data, std::size_t bytes) {
        return make(tessera_tensor_create_view, dtype, dims, data, bytes);
    }
    /// Takes a DLPack tensor over; on an exception the caller keeps it.
    static Tensor from_dlpack(DLManagedTensorVersioned *dlpack) {
        Tensor tensor;
        detail::call(tessera_tensor_create_dlpack, dlpack, tensor.out());
        return tensor;
    }
    /// The memory as DLPack, without a copy; released by its deleter.
    DLManagedTensorVersioned *to_dlpack() const {
        DLManagedTensorVersioned *dlpack = nullptr;
        detail::call(tessera_tensor_get_dlpack, Handle::get(), &dlpack);
        return dlpack;
    }
    std::int32_t dtype() const {
        std::int32_t dtype = 0;
        detail::call(tessera_tensor_get_dtype, Handle::get(), &dtype);
        return dtype;
    }
    std::vector<std::int64_t> dims() const {
        return detail::read<std::vector<std::int64_t>>(0, tessera_tensor_get_dims, Handle::get());
    }
    /// The elements; sizeof(T) must be that of the dtype.
    template <class T>
    std::vector<T> data() const {
        std::size_t bytes = 0;
        detail::call_or(TESSERA_E_BUFFER, tessera_tensor_get_data, Handle::get(), static_cast<void *>(nullptr),
                        std::size_t(0), &bytes);
        if (bytes % sizeof(T) != 0)
            throw Error(TESSERA_E_ARGUMENT,
                        std::to_string(bytes) + " bytes are no elements of " + std::to_string(sizeof(T)));
        std::vector<T> out(bytes / sizeof(T));
        detail::call(tessera_tensor_get_data, Handle::get(), static_cast<void *>(out.data()), bytes, &bytes);
        return out;
    }
    template <class T>
    void set_data(const std::vector<T> &values) {
        detail::call(tessera_tensor_set_data, Handle::get(), static_cast<const void *>(values.data()),
                     values.size() * sizeof(T));
    }

   private:
    template <class Function, class Pointer>
    static Tensor make(Function create, std::int32_t dtype, const std::vector<std::int64_t> &dims, Pointer data,
                       std::size_t bytes) {
        Tensor tensor;
        detail::call(create, dtype, detail::data_or_null(dims), static_cast<std::int64_t>(dims.size()), data, bytes,
                     tensor.out());
        return tensor;
    }
};

namespace detail {

template <>
struct FutureResult<Tensor> : ObjectResult<tessera_tensor, Tensor, tessera_future_get_tensor> {};

}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_TENSOR_HPP
